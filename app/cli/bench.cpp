// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "run/decode_bench.h"
#include "run/machine.h"
#include "run/profile_request.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace xqs::cli {

namespace {

using nlohmann::json;

struct Options {
  DecodeSettings decode;
  std::vector<std::string> policies;
  std::string backend = kAutoBackend, form = "fused", placement = "device";
  int threads = 0;
  std::string json;
};

// JSON ------------------------------------------------------------------------------------------------------------------

json cacheJson(const CacheBytes &b) {
  return {{"format_bytes", b.formatBytes()}, {"allocated_bytes", b.allocated}, {"working_bytes", b.accumulator + b.scratch}};
}

json figuresJson(const DecodeFigures &f, const DecodeFigures &baseline) {
  return {{"tokens_per_second", f.tokensPerSecond},
          {"ms_per_step", 1e3 * f.stepSeconds},
          {"cache_per_sequence", cacheJson(f.cache)},
          {"weight_bytes", f.weightBytes},
          {"counted_bytes_per_step", f.countedBytes},
          {"counted_gb_per_second", 1e-9 * f.countedRate()},
          {"speed_to_fp16", f.tokensPerSecond / baseline.tokensPerSecond},
          {"size_to_fp16", static_cast<double>(f.cache.formatBytes()) / static_cast<double>(baseline.cache.formatBytes())}};
}

json resultJson(const DecodeResult &r, const DecodeResult &baseline) {
  json row = figuresJson(r.measured, baseline.measured);
  row["policy"] = r.policy;
  row["predicted_cache"] = cacheJson(r.predicted);
  row["step_ms"] = json::array();
  for (const double s : r.stepSeconds) row["step_ms"].push_back(1e3 * s);
  row["ms_per_step_quartiles"] = {1e3 * r.lowSeconds, 1e3 * r.highSeconds};
  row["operations"] = json::array();
  double traced = 0;
  for (const DecodeResult::Operation &o : r.operations) {
    row["operations"].push_back(
        {{"name", o.name}, {"ms_per_step", 1e3 * o.seconds}, {"share", r.share(o.name)}, {"bytes_per_step", o.bytes}});
    traced += o.bytes;
  }
  row["traced_bytes_per_step"] = traced;
  row["attention_kernels"] = r.attentionKernels;
  if (r.statisticsCost) row["statistics_cost"] = *r.statisticsCost;
  return row;
}

json benchJson(const Options &options, const Backend &backend, const DecodeBench &bench,
               const std::vector<DecodeResult> &results) {
  const DecodeSettings &s = options.decode;
  const Index layers = bench.config().shape.layers, all = builtInShape(s.shape).shape.layers;
  json rows = json::array();
  for (const DecodeResult &r : results) {
    rows.push_back(resultJson(r, results.front()));
    if (layers < all) rows.back()["scaled_to_all_layers"] = figuresJson(r.scaled, results.front().scaled);
  }
  return {{"bench", "decode"},
          {"shape", s.shape},
          {"layers", layers},
          {"shape_layers", all},
          {"context", s.context},
          {"form", options.form},
          {"placement", options.placement},
          {"batch", s.batch},
          {"steps", s.steps},
          {"seed", s.seed},
          {"backend", backend.name()},
          {"device", backend.device()},
          {"machine", machineName()},
          {"time", utcNow()},
          {"policies", rows}};
}

// Table -----------------------------------------------------------------------------------------------------------------

std::string head(const Options &options, const Backend &backend, const DecodeBench &bench) {
  const DecodeSettings &s = options.decode;
  return fmt::format(
      "decoding: {}, {} sequences of {} tokens, {}, {}\n\n{:<34} {:>9} {:>7} {:>26} {:>12} {:>7} {:>12} {:>7}\n",
      bench.config().name, s.batch, s.context, backend.name(), backend.device(), "policy", "tokens/s", "x fp16",
      "ms/step (quartiles)", "cache MB/seq", "x fp16", "read MB/step", "GB/s");
}

std::string row(const std::string &name, const DecodeFigures &f, const DecodeFigures &baseline, const std::string &spread) {
  return fmt::format("{:<34} {:>9.2f} {:>7.2f} {:>26} {:>12.2f} {:>7.3f} {:>12.1f} {:>7.1f}\n", name, f.tokensPerSecond,
                     f.tokensPerSecond / baseline.tokensPerSecond, fmt::format("{:.2f}{}", 1e3 * f.stepSeconds, spread),
                     1e-6 * static_cast<double>(f.cache.formatBytes()),
                     static_cast<double>(f.cache.formatBytes()) / static_cast<double>(baseline.cache.formatBytes()),
                     1e-6 * static_cast<double>(f.countedBytes), 1e-9 * f.countedRate());
}

/// Figures, where needed those of the whole depth, and where the time went.
std::string rows(const DecodeResult &r, const DecodeResult &baseline, Index layers, Index all) {
  const std::string spread = fmt::format(" ({:.2f} to {:.2f})", 1e3 * r.lowSeconds, 1e3 * r.highSeconds);
  std::string text = row(r.policy, r.measured, baseline.measured, spread);
  if (layers < all) text += row(fmt::format("  scaled to {} layers", all), r.scaled, baseline.scaled, "");
  text += " ";
  for (const DecodeResult::Operation &o : r.operations)
    text += fmt::format(" {} {:.1f} %{}", o.name, 100 * r.share(o.name),
                        o.name == "attend"           ? fmt::format(" ({}),", fmt::join(r.attentionKernels, " "))
                        : &o == &r.operations.back() ? ""
                                                     : ",");
  if (r.statisticsCost) text += fmt::format("; statistics {:+.1f} %", 100 * *r.statisticsCost);
  return text + "\n";
}

void decode(Options options) {
  options.decode.form = parseDecodeForm(options.form), options.decode.placement = parsePlacement(options.placement);
  std::vector<PolicySpec> policies = withBaseline(parsePolicies(options.policies));
  const std::stop_token stop = interrupted();
  const BackendPtr backend = createBackend(backends(), chooseBackend(backends(), options.backend).name, options.threads);
  ProgressLine line;
  DecodeBench bench(
      options.decode, policies, *backend, [&](double fraction, const std::string &text) { line.show(fraction, text); },
      stop);
  const Index layers = bench.config().shape.layers, all = builtInShape(options.decode.shape).shape.layers;
  std::vector<DecodeResult> results;
  const auto write = [&] {
    if (!options.json.empty())
      writeTextFile(options.json, benchJson(options, *backend, bench, results).dump(1) + "\n", "figures");
  };
  write();                                    // what cannot be written is said before anything is measured
  for (const PolicySpec &policy : policies) { // each is shown and written when it is known
    results.push_back(bench.run(policy));
    write();
    line.show("");
    print((results.size() == 1 ? head(options, *backend, bench) : "") + rows(results.back(), results.front(), layers, all));
  }
}

} // namespace

void addBench(const Command &app) {
  const Command bench = app.add("bench", "How fast this machine decodes over packed caches");
  const auto options = std::make_shared<Options>();
  DecodeSettings &s = options->decode;
  const Command command =
      bench.add("decode", "Time of a step of decoding over caches that hold a long text, beside FP16 KV");
  command.option("--shape", s.shape, "NAME", shapeNames()).required();
  command.option("--context", s.context, "N", "tokens that each cache holds").shown().range(1, 1 << 24);
  command.option("--batch", s.batch, "N", "sequences that are decoded together").shown().range(1, 4096);
  addPolicyOption(command, options->policies);
  command.option("--backend", options->backend, "NAME", "see info --backends").shown();
  command.option("--threads", options->threads, "N", "0: one a core").shown().range(0, 1024);
  command.option("--steps", s.steps, "N", "that are timed").shown().range(1, 100'000);
  command.option("--layers", s.layers, "N", "of the shape, for small machines; 0: all").shown().range(0, 1024);
  command.option("--seed", s.seed, "N", "of weights and cached rows").shown().range(0, 4294967295);
  command.option("--form", options->form, "NAME", fmt::format("where K comes to be: {}", fmt::join(decodeFormNames(), ", ")))
      .shown();
  command.option("--placement", options->placement, "NAME", "of the caches: device, host (copied layer by layer)").shown();
  command.flag("--statistics", s.statistics, "also what summaries of X in every layer cost a step");
  command.option("--json", options->json, "FILE", "the figures as JSON, besides the table");
  command.about(
      "Weights and cached rows are random: times and bytes are a model's, what it computes is not. A step is one token "
      "of every sequence with its logits, without sampling. Bytes read are counted: weights once, every cache once. "
      "With --layers the figures of the whole depth are computed from the part and marked as scaled.");
  command.does([options] { decode(*options); });
}

} // namespace xqs::cli
