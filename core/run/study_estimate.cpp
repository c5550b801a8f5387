// SPDX-License-Identifier: Apache-2.0
// What a study will take, before it runs: time, and a table of its points with their bytes.
#include "cache/work.h"
#include "run/results.h"
#include "run/runner.h"
#include "run/study_plan.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <chrono>

namespace xqs {

namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

/// Share of the matrix product's rate that scoring a window reaches: 0.7 to 0.9 in tests/bench/results on a quiet machine,
/// less where policies have to be prepared or captures are taken.
constexpr double kEfficiency = 0.4;

/// FLOP/s of products [128, 512] x [512, 512] on a backend.
double matrixRate(Backend &backend) {
  constexpr Index kRows = 128, kSide = 512;
  constexpr double kLeastSeconds = 0.1;
  const auto matrix = [&](Index rows) {
    Buffer buffer = backend.allocate(rows * kSide * sizeOf(DType::F32), Purpose::Scratch);
    const std::vector<float> values(static_cast<std::size_t>(rows * kSide), 0.01f);
    backend.upload(Queue::Compute, buffer.data(), values.data(), buffer.bytes());
    return buffer;
  };
  Buffer a = matrix(kRows), b = matrix(kSide), c = matrix(kRows);
  const auto product = [&] {
    backend.matmul(Queue::Compute, a.f32(kRows, kSide), b.f32(kSide, kSide), c.f32(kRows, kSide));
    backend.sync(Queue::Compute);
  };
  product(); // threads and pages are there now
  const auto started = Clock::now();
  double seconds = 0;
  int products = 0;
  for (; seconds < kLeastSeconds; ++products) {
    product();
    seconds = std::chrono::duration<double>(Clock::now() - started).count();
  }
  return products * 2.0 * kRows * kSide * kSide / seconds;
}

/// Seconds for a FLOP of windows that were scored before; 0 where there are none.
double measuredSecondsPerFlop(RunReader &reader, const PlannedRun &like) {
  std::map<RowId, double> flops; // a window
  for (const RunRow &run : reader.rowsAfter<RunRow>(0)) {
    if (run.modelHash != like.modelHash || run.backend != like.experiment.backend || run.kind != "eval") continue;
    PlannedRun one = like;
    one.experiment.window = run.window;
    one.work.assign(1, {});
    one.work.front().captureExact = true; // one unit
    flops[run.id] = one.workFlops();
  }
  double seconds = 0, work = 0;
  for (const WindowRow &row : reader.rowsAfter<WindowRow>(0))
    if (const auto run = flops.find(row.run); run != flops.end()) seconds += row.seconds, work += run->second;
  return work > 0 ? seconds / work : 0;
}

std::string clock(double seconds) {
  const auto s = static_cast<long>(seconds + 0.5);
  return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

Index missingOf(const PlannedRun &run, std::size_t policy) {
  Index missing = 0;
  for (const WindowWork &work : run.work) missing += std::count(work.score.begin(), work.score.end(), policy);
  return missing;
}

std::string titleOf(const PlannedRun &run) {
  const Experiment &e = run.experiment;
  return fmt::format("{}, {}, {} x {} tokens, state {}, protocol {}", run.modelName, run.textName, run.windows, e.window,
                     stateName(e.state), protocolName(e.protocol));
}

} // namespace

TimeEstimate estimateTime(const std::vector<PlannedRun> &runs, const std::filesystem::path &store,
                          std::span<const BackendInfo> backends) {
  TimeEstimate estimate;
  std::optional<RunReader> reader = openIfWritten(store);
  std::map<std::string, double> rates; // FLOP/s, by backend
  bool measured = false;
  for (const PlannedRun &run : runs) {
    if (run.work.empty()) continue;
    double secondsPerFlop = reader ? measuredSecondsPerFlop(*reader, run) : 0;
    measured = measured || secondsPerFlop > 0;
    if (secondsPerFlop == 0) {
      double &rate = rates[run.experiment.backend];
      if (rate == 0) rate = matrixRate(*createBackend(backends, run.experiment.backend, run.experiment.threads));
      secondsPerFlop = 1 / (kEfficiency * rate);
    }
    estimate.seconds += run.workFlops() * secondsPerFlop;
  }
  if (measured) estimate.source = "from windows that the store has";
  for (const auto &[backend, rate] : rates)
    estimate.source += fmt::format("{}from {:.1f} GFLOP/s of a matrix product on {}, good to a factor of 2",
                                   estimate.source.empty() ? "" : "; ", rate / 1e9, backend);
  if (estimate.source.empty()) estimate.source = "nothing is missing";
  return estimate;
}

std::string planTable(const Study &study, const std::vector<PlannedRun> &runs, const TimeEstimate &time) {
  std::string text;
  Index points = 0, missing = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const PlannedRun &run = runs[i];
    const Experiment &e = run.experiment;
    text += fmt::format("\nrun {} of {}: {}\n", i + 1, runs.size(), titleOf(run));
    if (run.error) {
      text += fmt::format("  cannot run: {}\n", run.error->what());
      continue;
    }
    text += fmt::format("{:>7} {:>12} {:>8} {:>8} {:>8} {:>8} {:>9}  policy\n", "index", "bytes", "of FP16", "as MHA",
                        "store", "rebuild", "missing");
    for (const std::size_t policy : run.part.policies) {
      const PolicyRow row = describePolicy(e.policies[policy], run.shape, e.window, e.state, run.part.indices[policy]);
      const Index open = missingOf(run, policy);
      const CacheWork work = cacheWork(e.policies[policy], run.shape);
      points += run.windows, missing += open;
      text += fmt::format("{:>7} {:>12} {:>8.4f} {:>8.4f} {:>8.2f} {:>8.2f} {:>4} of {:<2}  {}\n", row.index,
                          row.formatBytes, row.relativeSize, row.relativeSizeMha, static_cast<double>(work.storeMacs) / 1e6,
                          static_cast<double>(work.rebuildMacs) / 1e6, open, run.windows, row.policy);
    }
    for (const RunPart::Misfit &misfit : run.part.misfits) text += fmt::format("  does not fit: {}\n", misfit.message);
  }
  return fmt::format("study '{}': {} runs, {} points (windows under a policy), {} missing\n{}estimated time: {} ({})\n{}",
                     study.name(), runs.size(), points, missing, study.about().empty() ? "" : study.about() + "\n",
                     clock(time.seconds), time.source, fmt::format("{}\nbytes: of a window. {}", text, kWorkLegend));
}

json planJson(const Study &study, const std::vector<PlannedRun> &runs, const TimeEstimate &time) {
  json list = json::array();
  for (const PlannedRun &run : runs) {
    const Experiment &e = run.experiment;
    json policies = json::array(), misfits = json::array();
    for (const std::size_t policy : run.part.policies) {
      const PolicyRow row = describePolicy(e.policies[policy], run.shape, e.window, e.state, run.part.indices[policy]);
      const CacheWork work = cacheWork(e.policies[policy], run.shape);
      policies.push_back({{"index", row.index},
                          {"policy", row.policy},
                          {"format_bytes_per_window", row.formatBytes},
                          {"relative_size", row.relativeSize},
                          {"relative_size_mha", row.relativeSizeMha},
                          {"store_macs_per_token", work.storeMacs},
                          {"rebuild_macs_per_token", work.rebuildMacs},
                          {"missing_windows", missingOf(run, policy)}});
    }
    for (const RunPart::Misfit &misfit : run.part.misfits)
      misfits.push_back({{"policy", e.policies[misfit.policy].canonical()}, {"message", misfit.message}});
    list.push_back({{"title", titleOf(run)},
                    {"study_key", run.key},
                    {"model", e.model},
                    {"text", e.text},
                    {"window", e.window},
                    {"windows", run.windows},
                    {"state", stateName(e.state)},
                    {"protocol", protocolName(e.protocol)},
                    {"error", run.error ? json(run.error->what()) : json()},
                    {"policies", policies},
                    {"misfits", misfits}});
  }
  return {{"study", study.name()},
          {"about", study.about()},
          {"runs", list},
          {"estimated_seconds", time.seconds},
          {"estimate_source", time.source}};
}

} // namespace xqs
