// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "error.h"
#include "model/shapes.h"
#include "run/resources.h"
#include "store/run_store.h"
#include "verdict_output.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

namespace xqs::cli {

namespace {

constexpr const char *kMeasured = "measured";
constexpr Index kContext = 32768; ///< where neither a person nor a profile says

struct Options {
  std::string store, gpu, shape, model;
  std::vector<std::string> policies;
  std::optional<Index> context, batch;
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

/// What is asked about, and the point: where nobody says, the longest that the profile measured.
struct Case {
  Judge judge;
  Index context, batch;
};

Case makeCase(const Options &options) {
  const std::vector<StoredRows> runs = readRuns(options.store);
  const ModelSize model = modelFor(options, runs);
  const StoredRows *profile = profileOf(runs, model);
  Hardware hardware = hardwareFor(options, profile);
  std::vector<std::string> policies;
  for (const PolicySpec &policy : parsePolicies(options.policies)) policies.push_back(policy.canonical());
  if (policies.empty() && profile)
    for (const PolicyRow &row : profile->policies) policies.push_back(row.policy);
  for (auto run = runs.rbegin(); policies.empty() && run != runs.rend(); ++run)
    if (run->run.kind == "eval" && model.sameAs(sizeOf(run->run)))
      for (const PolicyRow &row : run->policies) policies.push_back(row.policy);
  if (policies.empty()) policies = usualPolicies();
  Evidence evidence;
  for (const StoredRows &run : runs) addQualities(evidence, run.rows(), model);
  if (profile) addSteps(evidence, profile->rows(), model);
  addPublished(evidence, policies, model, parsePublished(publishedTables()));
  Index context = kContext, batch = 1;
  if (hardware.measured && !profile->steps.empty()) {
    const StepRow &longest = *std::ranges::max_element(profile->steps, {}, &StepRow::context);
    context = longest.context, batch = longest.batch;
  }
  return {Judge(std::move(hardware), model, policies, std::move(evidence)), options.context.value_or(context),
          options.batch.value_or(batch)};
}

void verdict(const Options &options) {
  const Case asked = makeCase(options);
  const Verdict verdict = asked.judge.at(asked.context, asked.batch);
  if (options.json) return printJson(verdictJson(asked.judge, verdict, options.map));
  print(verdictText(asked.judge, verdict) + (options.map ? mapText(asked.judge) : ""));
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
  command
      .option(
          "--context", options->context, "N",
          fmt::format("tokens that each cache holds; without it the longest that the profile measured, else {}", kContext))
      .range(1, 1 << 24);
  command.option("--batch", options->batch, "N", "sequences that are decoded together; without it likewise, else 1")
      .range(1, 4096);
  addPolicyOption(command, options->policies);
  command.flag("--map", options->map, "also who is fastest at contexts of 1k to 256k tokens and batches of 1 to 64");
  command.flag("--json", options->json, "as JSON");
  command.about(
      "A prediction counts bytes and FLOPs of a decoding step from shapes and lays them on the GPU's roofline, weights and "
      "caches layer by layer; what of the caches does not fit into its memory is read from the host's. Steps that a profile "
      "measured "
      "take the place of predictions at their context and batch. Each figure says whether it was measured, counted, "
      "predicted "
      "or published.");
  command.does([options] { verdict(*options); });
}

} // namespace xqs::cli
