// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "analysis/verdict.h"
#include "analysis/verdict_text.h"
#include "error.h"
#include "model/shapes.h"
#include "run/resources.h"
#include "store/run_store.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace xqs::cli {

namespace {

using nlohmann::json;

constexpr const char *kMeasured = "measured";

struct Options {
  std::string store, gpu, shape, model;
  std::vector<std::string> policies;
  Index context = 32768, batch = 1;
  bool map = false, json = false;
};

/// A run of the store with the rows that a verdict asks for.
struct StoredRows {
  RunRow run;
  std::vector<PolicyRow> policies;
  std::vector<WindowRow> windows;
  std::vector<StepRow> steps;
  std::vector<TrafficRow> traffic;
  std::vector<PeakRow> peaks;
  RunRows rows() const { return {run, policies, windows, steps, traffic, peaks}; }
};

std::vector<StoredRows> readRuns(const std::string &store) {
  if (store.empty()) return {};
  RunReader reader(store);
  std::vector<StoredRows> runs;
  for (RunRow &run : reader.rowsAfter<RunRow>(0)) runs.push_back({std::move(run), {}, {}, {}, {}, {}});
  const auto give = [&]<class Row>(std::vector<Row> StoredRows::*member) {
    for (Row &row : reader.rowsAfter<Row>(0))
      for (StoredRows &run : runs)
        if (run.run.id == row.run) (run.*member).push_back(std::move(row));
  };
  give(&StoredRows::policies), give(&StoredRows::windows), give(&StoredRows::steps), give(&StoredRows::peaks);
  return runs;
}

/// The model asked for, else that of the store's latest profile, else of its latest run.
ModelSize modelFor(const Options &options, const std::vector<StoredRows> &runs) {
  if (!options.shape.empty()) return sizeOf(shapeConfig(builtInShape(options.shape)));
  if (!options.model.empty()) return sizeOf(openModel(resolveModel(options.model))->config());
  const StoredRows *found = nullptr;
  for (const StoredRows &run : runs)
    if (!found || run.run.kind == "profile" || found->run.kind != "profile") found = &run;
  if (!found) throw Error(Code::Usage, "verdict needs --shape S or --model M, or a store that has a run");
  return sizeOf(found->run);
}

/// The store's latest profile of this model that measured the machine's peaks; null where there is none.
const StoredRows *profileOf(const std::vector<StoredRows> &runs, const ModelSize &model) {
  const StoredRows *found = nullptr;
  for (const StoredRows &run : runs)
    if (run.run.kind == "profile" && model.sameAs(sizeOf(run.run)) && measuredHardware(run.run, run.peaks)) found = &run;
  return found;
}

Hardware hardwareFor(const Options &options, const StoredRows *profile) {
  if (!options.gpu.empty() && options.gpu != kMeasured) return hardwarePreset(options.gpu);
  if (profile) return *measuredHardware(profile->run, profile->peaks);
  if (options.gpu == kMeasured)
    throw Error(Code::Usage, "--gpu measured needs a store with a profile of this model that measured the machine's peaks; "
                             "make one, or name a GPU");
  std::vector<std::string> names;
  for (const Hardware &h : hardwarePresets()) names.push_back(h.id);
  throw Error(Code::Usage, fmt::format("verdict needs --gpu NAME, one of {}, or a store with a profile of this model",
                                       fmt::join(names, ", ")));
}

Judge makeJudge(const Options &options) {
  const std::vector<StoredRows> runs = readRuns(options.store);
  const ModelSize model = modelFor(options, runs);
  const StoredRows *profile = profileOf(runs, model);
  Hardware hardware = hardwareFor(options, profile);
  std::vector<std::string> policies;
  for (const PolicySpec &policy : parsePolicies(options.policies)) policies.push_back(policy.canonical());
  if (policies.empty() && profile)
    for (const PolicyRow &row : profile->policies) policies.push_back(row.policy);
  if (policies.empty()) policies = usualPolicies();
  Evidence evidence;
  for (const StoredRows &run : runs) addQualities(evidence, run.rows(), model);
  if (profile) addSteps(evidence, profile->rows(), model);
  addPublished(evidence, policies, model, parsePublished(publishedTables()));
  return Judge(std::move(hardware), model, policies, std::move(evidence));
}

// Text ------------------------------------------------------------------------------------------------------------------

std::string titleOf(const Judge &judge, const Options &options) {
  const ModelSize &s = judge.model();
  return fmt::format("{}: {} layers, d {}, {} KV heads of {}; {} of {} tokens\n{}\n", judge.model().name, s.layers, s.d,
                     s.kvHeads, s.heads, options.batch == 1 ? "1 sequence" : fmt::format("{} sequences", options.batch),
                     options.context, hardwareSentence(judge.hardware()));
}

std::string qualityText(const Quality &q) {
  if (q.basis == Basis::Unknown) return "unknown";
  return std::isnan(q.kl) ? fmt::format("ppl x {:.3f} {}", q.ratio, basisName(q.basis))
                          : fmt::format("KL {:.5f} {}", q.kl, basisName(q.basis));
}

std::string tableOf(const Verdict &v) {
  std::string text =
      fmt::format("\n{:>10} {:>7} {:<24} {:<6} {:>10} {:>7} {:<10} {:<7} {:>9} {:>9} {:<8} policy\n", "cache/seq", "x fp16",
                  "quality", "", "step", "x fp16", "", "caches", "if hidden", "moved", "");
  for (const VerdictRow &r : v.rows)
    text += fmt::format("{:>10} {:>7} {:<24} {:<6} {:>10} {:>7} {:<10} {:<7} {:>9} {:>9} {:<8} {}\n",
                        bytesText(r.cacheBytes), fmt::format("{:.3f}", r.bytesRatio), qualityText(r.quality),
                        r.front ? "front" : "", secondsText(r.time.seconds), ratioText(r.timeRatio), basisName(r.time.basis),
                        r.time.inHost ? "host"
                        : r.fits      ? "device"
                                      : "device?",
                        ratioText(r.hiddenRatio), bytesText(r.movedBytes), basisName(r.movedBasis), r.policy);
  text += "\n";
  for (const std::string &sentence : v.sentences) text += sentence + "\n";
  return text;
}

constexpr const char *kLegend =
    "\ncache/seq: format bytes of one sequence, counted. front: no other whose quality may be compared is as small and "
    "better. caches: host where\nthey do not fit beside the weights, device? where the memory's size is not known. if "
    "hidden: "
    "predicted step over FP16's, if rebuilding hid under\nthe loading of weights. moved: by a step, weights included.\n";

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
                                              time.basis == Basis::Measured ? "m" : ""));
  }
  return text + "\n";
}

std::string mapText(const Judge &judge) {
  std::string text = mapTable(judge, "Fastest method and its time over FP16's, context by batch", &VerdictCell::fastest);
  text += mapTable(judge, "Fastest method that rebuilds K and V, and its time over FP16's", &VerdictCell::fastestRebuilding);
  text += "\n";
  for (std::size_t i = 0; i < judge.policies().size(); ++i)
    text += fmt::format("{:>6}  {}\n", fmt::format("({})", i + 1), judge.policies()[i]);
  return text +
         "\n*: FP16 KV does not fit and is read from the host's memory; h: so is this one. m: measured; all others are "
         "predicted.\n";
}

// JSON ------------------------------------------------------------------------------------------------------------------

json timeJson(const StepTime &t) {
  return {{"ms", 1e3 * t.seconds}, {"basis", basisName(t.basis)}, {"caches_in_host_memory", t.inHost}};
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
      times.back()["time_to_fp16"] = cell.ratio(i);
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

json verdictJson(const Judge &judge, const Options &options) {
  const Hardware &h = judge.hardware();
  const Verdict v = judge.at(options.context, options.batch);
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
                 {"sentences", v.sentences},
                 {"longest_contexts", limits}};
  if (options.map) result["map"] = {{"policies", policies}, {"cells", mapJson(judge)}};
  return result;
}

void verdict(const Options &options) {
  const Judge judge = makeJudge(options);
  if (options.json) return printJson(verdictJson(judge, options));
  std::string text = titleOf(judge, options) + tableOf(judge.at(options.context, options.batch)) +
                     contextSentence(judge.model(), judge.hardware()) + "\n" + kLegend;
  if (options.map) text += mapText(judge);
  print(text);
}

} // namespace

void addVerdict(const Command &app) {
  const auto options = std::make_shared<Options>();
  const Command command = app.add(
      "verdict", "Which method wins bytes, quality and time: on a GPU, at a context and batch, measured or predicted");
  std::vector<std::string> gpus, shapes;
  for (const Hardware &h : hardwarePresets()) gpus.push_back(h.id);
  for (const BuiltInShape &shape : builtInShapes()) shapes.emplace_back(shape.name);
  command.option("store", options->store, "F.xqs",
                 "a store: its profile is what was measured, its scored windows the quality");
  command.option("--gpu", options->gpu, "NAME",
                 fmt::format("{}, or measured: the machine of the store's profile, which it is without this option",
                             fmt::join(gpus, ", ")));
  Option shape = command.option("--shape", options->shape, "NAME",
                                fmt::format("{}; without it and --model that of the store", fmt::join(shapes, ", ")));
  shape.excludes(command.option("--model", options->model, "F", "GGUF file, synthetic:..., shape:... or default"));
  command.option("--context", options->context, "N", "tokens that each cache holds").shown().range(1, 1 << 24);
  command.option("--batch", options->batch, "N", "sequences that are decoded together").shown().range(1, 4096);
  addPolicyOption(command, options->policies);
  command.flag("--map", options->map, "also who is fastest at contexts of 1k to 256k tokens and batches of 1 to 64");
  command.flag("--json", options->json, "as JSON");
  command.about(
      "A prediction counts bytes and FLOPs of a decoding step from shapes and lays them on the GPU's roofline, weights and "
      "caches layer by layer; caches that do not fit into its memory are read from the host's. Steps that a profile "
      "measured "
      "take the place of predictions at their context and batch. Each figure says whether it was measured, counted, "
      "predicted "
      "or published.");
  command.does([options] { verdict(*options); });
}

} // namespace xqs::cli
