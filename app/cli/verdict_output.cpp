// SPDX-License-Identifier: Apache-2.0
#include "verdict_output.h"

#include "analysis/verdict_text.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace xqs::cli {

namespace {

using nlohmann::json;
using Index = std::int64_t;

// Text ------------------------------------------------------------------------------------------------------------------

std::string titleOf(const Judge &judge, const Verdict &v) {
  const ModelSize &s = judge.model();
  return fmt::format("{}: {} layers, d {}, {} KV heads of {}; {} of {} tokens\n{}\n", judge.model().name, s.layers, s.d,
                     s.kvHeads, s.heads, v.batch == 1 ? "1 sequence" : fmt::format("{} sequences", v.batch), v.context,
                     hardwareSentence(judge.hardware()));
}

std::string qualityText(const Quality &q) {
  if (q.basis == Basis::Unknown) return "unknown";
  return std::isnan(q.kl) ? fmt::format("ppl x {:.3f} {}", q.ratio, basisName(q.basis))
                          : fmt::format("KL {:.5f} {}", q.kl, basisName(q.basis));
}

/// Of the step and of its ratio: a measured step beside a predicted one of FP16 gives a predicted ratio.
std::string basisText(const VerdictRow &r) {
  if (r.time.basis == r.timeRatioBasis) return basisName(r.time.basis);
  return fmt::format("{}, x {}", basisName(r.time.basis), basisName(r.timeRatioBasis));
}

const char *whereText(const VerdictRow &r) {
  if (r.time.inHost) return r.time.basis == Basis::Measured ? "host" : "partly";
  return r.fits ? "device" : "device?";
}

std::string tableOf(const Verdict &v) {
  std::string text =
      fmt::format("\n{:>10} {:>7} {:<24} {:<6} {:>10} {:>7} {:<10} {:<7} {:>9} {:>9} {:<8} policy\n", "cache/seq", "x fp16",
                  "quality", "", "step", "x fp16", "", "caches", "if hidden", "moved", "");
  for (const VerdictRow &r : v.rows)
    text +=
        fmt::format("{:>10} {:>7} {:<24} {:<6} {:>10} {:>7} {:<10} {:<7} {:>9} {:>9} {:<8} {}\n", bytesText(r.cacheBytes),
                    fmt::format("{:.3f}", r.bytesRatio), qualityText(r.quality), r.front ? "front" : "",
                    secondsText(r.time.seconds), ratioText(r.timeRatio), basisText(r), whereText(r),
                    r.rebuilds ? ratioText(r.hiddenRatio) : "-", bytesText(r.movedBytes), basisName(r.movedBasis), r.policy);
  text += "\n";
  for (const std::string &sentence : v.sentences) text += sentence + "\n";
  return text;
}

constexpr const char *kLegend = R"(
cache/seq: format bytes of one sequence, counted. front: no other whose quality may be compared is as small and better. caches:
partly where what does not fit beside the weights is read from the host's memory, host where a profile put all of them there,
device? where the memory's size is not known. if hidden: predicted step over FP16's, if rebuilding hid under the loading of
weights. moved: by a step, weights included.
Predicted steps: layer by layer the larger of what bytes and FLOPs take; K is rebuilt through its map, V absorbed
(out = (p X^) Wv) as the engine does, a chain's sum read and written in every layer; a launch costs nothing, so that small
models take longer than that.
)";

/// Cells: the number of a policy and its time over FP16's.
std::string mapTable(const Judge &judge, const std::string &title, std::optional<std::size_t> VerdictCell::*which) {
  const std::vector<Index> contexts = mapContexts(), batches = mapBatches();
  const std::vector<VerdictCell> cells = judge.map(contexts, batches);
  std::string text = fmt::format("\n{}\n{:>8}", title, "batch");
  for (const Index context : contexts) text += fmt::format("{:>13}", fmt::format("{}k", context / 1024));
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (i % contexts.size() == 0) text += fmt::format("\n{:>8}", cells[i].batch);
    const std::optional<std::size_t> policy = cells[i].*which;
    if (!policy) continue;
    const StepTime &time = cells[i].times[*policy];
    const char *where = time.inHost ? "h" : cells[i].times.front().inHost ? "*" : "";
    text += fmt::format("{:>13}", fmt::format("({}) {}{}{}", *policy + 1, ratioText(cells[i].ratio(*policy)), where,
                                              cells[i].ratioBasis(*policy) == Basis::Measured ? "m" : ""));
  }
  return text + "\n";
}

// JSON ------------------------------------------------------------------------------------------------------------------

json timeJson(const StepTime &t) {
  return {{"ms", 1e3 * t.seconds},
          {"basis", basisName(t.basis)},
          {"predicted_ms", 1e3 * t.predicted},
          {"caches_in_host_memory", t.inHost}};
}

json rowJson(const VerdictRow &r) {
  return {
      {"policy", r.policy},
      {"cache_bytes_per_sequence", {{"value", r.cacheBytes}, {"basis", basisName(Basis::Counted)}}},
      {"size_to_fp16", r.bytesRatio},
      {"quality",
       {{"kl", r.quality.kl}, {"ppl_ratio", r.quality.ratio}, {"of", r.quality.of}, {"basis", basisName(r.quality.basis)}}},
      {"front", r.front},
      {"step", timeJson(r.time)},
      {"time_to_fp16", {{"value", r.timeRatio}, {"basis", basisName(r.timeRatioBasis)}}},
      {"time_to_fp16_if_hidden", {{"value", r.hiddenRatio}, {"basis", basisName(Basis::Predicted)}}},
      {"rebuilds", r.rebuilds},
      {"moved_bytes_per_step", {{"value", r.movedBytes}, {"basis", basisName(r.movedBasis)}}},
      {"memory_bytes", {{"value", r.memoryBytes}, {"basis", basisName(Basis::Counted)}}},
      {"fits", r.fits ? json(*r.fits) : json()},
      {"sentence", r.sentence()}};
}

json mapJson(const Judge &judge) {
  json cells = json::array();
  for (const VerdictCell &cell : judge.map(mapContexts(), mapBatches())) {
    json times = json::array();
    for (std::size_t i = 0; i < cell.times.size(); ++i) {
      times.push_back(timeJson(cell.times[i]));
      times.back()["time_to_fp16"] = {{"value", cell.ratio(i)}, {"basis", basisName(cell.ratioBasis(i))}};
    }
    const auto name = [&](const std::optional<std::size_t> &i) { return i ? json(judge.policies()[*i]) : json(); };
    cells.push_back({{"context", cell.context},
                     {"batch", cell.batch},
                     {"fastest", name(cell.fastest)},
                     {"fastest_rebuilding", name(cell.fastestRebuilding)},
                     {"steps", times}});
  }
  return cells;
}

} // namespace

std::string verdictText(const Judge &judge, const Verdict &verdict) {
  return titleOf(judge, verdict) + tableOf(verdict) + contextSentence(judge.model(), judge.hardware()) + "\n" + kLegend;
}

std::string mapText(const Judge &judge) {
  std::string text = mapTable(judge, "Fastest method and its time over FP16's, context by batch", &VerdictCell::fastest);
  text += mapTable(judge, "Fastest method that rebuilds K or V, and its time over FP16's", &VerdictCell::fastestRebuilding);
  text += "\n";
  for (std::size_t i = 0; i < judge.policies().size(); ++i)
    text += fmt::format("{:>6}  {}\n", fmt::format("({})", i + 1), judge.policies()[i]);
  return text + "\n*: part of FP16 KV does not fit and is read from the host's memory; h: of this one too. m: measured; all "
                "others are "
                "predicted.\n";
}

json verdictJson(const Judge &judge, const Verdict &v, bool map) {
  const Hardware &h = judge.hardware();
  json rows = json::array(), limits = json::array(), policies = json::array();
  for (const VerdictRow &row : v.rows) rows.push_back(rowJson(row));
  for (const std::string &policy : judge.policies()) policies.push_back(policy);
  for (const ContextLimit &limit : contextLimits(judge.model(), h))
    limits.push_back({{"bits", limit.bits}, {"tokens_printed", limit.printed}, {"tokens_both_latents", limit.bothLatents}});
  json result = {{"gpu",
                  {{"id", h.id},
                   {"name", h.name},
                   {"device", h.device},
                   {"source", h.source},
                   {"memory_bytes_per_second", h.memoryRate},
                   {"matrix_flops_per_second", h.matrixRate},
                   {"memory_bytes", h.memory},
                   {"l2_bytes", h.l2},
                   {"host_bytes_per_second", h.linkRate},
                   {"ridge_flop_per_byte", h.ridge()}}},
                 {"model", judge.model().name},
                 {"context", v.context},
                 {"batch", v.batch},
                 {"policies", rows},
                 {"fewest_bytes", v.rows[v.smallest].policy},
                 {"fastest", v.rows[v.fastest].policy},
                 {"measured_over_predicted", {{"points", v.check.points}, {"least", v.check.least}, {"most", v.check.most}}},
                 {"sentences", v.sentences},
                 {"longest_contexts", limits}};
  if (map) result["map"] = {{"policies", policies}, {"cells", mapJson(judge)}};
  return result;
}

} // namespace xqs::cli
