// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "analysis/traffic.h"
#include "kernel_table.h"
#include "model/input_file.h"
#include "model/json_text.h"
#include "run/machine.h"
#include "run/profile.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <filesystem>
#include <fstream>

namespace xqs::cli {

namespace {

using nlohmann::json;

constexpr std::size_t kMaxSpecBytes = 1 << 20;

/// What is not given stays as the spec, --quick or the defaults have it.
struct Options {
  std::string model, shape, spec, backend, form, placement, store, report, json;
  std::vector<Index> contexts, batches;
  std::vector<std::string> policies;
  std::optional<Index> layers, steps, threads, seed, sampling;
  bool quick = false, noKernels = false, noCounters = false, noCosts = false, hitRate = false, microscope = false;
};

ProfileRequest requestOf(const Options &o) {
  ProfileRequest r = o.quick ? quickProfile() : ProfileRequest{};
  if (!o.spec.empty())
    r = profileFromJson(parseJson(readRegularFile(o.spec, "profile", kMaxSpecBytes), o.spec,
                                  "take the spec of a run of kind profile, or leave --spec out"));
  if (!o.model.empty()) r.model = o.model, r.shape.clear();
  if (!o.shape.empty()) r.shape = o.shape;
  if (!o.backend.empty()) r.backend = o.backend;
  if (!o.form.empty()) r.form = parseDecodeForm(o.form);
  if (!o.placement.empty()) r.placement = parsePlacement(o.placement);
  if (!o.contexts.empty()) r.contexts = o.contexts;
  if (!o.batches.empty()) r.batches = o.batches;
  if (!o.policies.empty()) r.policies = parsePolicies(o.policies);
  if (o.layers) r.layers = *o.layers;
  if (o.steps) r.steps = *o.steps;
  if (o.threads) r.threads = static_cast<int>(*o.threads);
  if (o.seed) r.seed = static_cast<std::uint64_t>(*o.seed);
  if (o.sampling) r.samplingMicroseconds = *o.sampling;
  r.kernels &= !o.noKernels, r.counters &= !o.noCounters, r.costs &= !o.noCosts, r.hitRate |= o.hitRate;
  r.microscope |= o.microscope;
  return profileFromJson(toJson(r)); // the same limits, wherever a value comes from
}

// Table -----------------------------------------------------------------------------------------------------------------

std::string head(const ProfileResult &r) {
  std::string text = fmt::format("{}, {}, {}\n", r.run.title, r.run.backend, r.run.device);
  for (const InstrumentRow &i : r.instruments) text += fmt::format("  {}: {}\n", i.instrument, i.sentence);
  return text;
}

std::string columns(const ProfileResult &r) {
  std::string text;
  for (const PeakRow &peak : r.peaks)
    text += fmt::format("  limit {}: measured {:.1f} {} ({})\n", peak.name, 1e-9 * peak.value, peakUnit(peak), peak.text);
  return text + fmt::format("\n{:<34} {:>8} {:>5} {:>26} {:>13} {:>13} {:>13} {:>12}  {}\n", "policy", "context", "batch",
                            "ms/step (quartiles)", "cache MB read", "counted GB/s", "measured GB/s", "rebuild+read",
                            "bytes");
}

/// Where the bytes of a step come from.
std::string sourceOf(const ProfileResult &r, const StepRow &step) {
  if (std::isnan(step.measuredRead)) return "counted";
  for (const InstrumentRow &i : r.instruments)
    if (i.instrument == instrumentName(Instrument::Counters)) return "measured: " + i.source;
  return "measured";
}

std::string row(const ProfileResult &r, const StepRow &step) {
  std::string text;
  for (const TradePoint &p : tradePoints(r.policies, {step}, r.traffic)) {
    const auto rate = [](double x) { return std::isnan(x) ? "-" : fmt::format("{:.1f}", 1e-9 * x); };
    const std::string share = std::isnan(p.cacheShare) ? "-" : fmt::format("{:.1f} %", 100 * p.cacheShare);
    text += fmt::format(
        "{:<34} {:>8} {:>5} {:>26} {:>13.2f} {:>13} {:>13} {:>12}  {}\n", p.policy, step.context, step.batch,
        fmt::format("{:.2f} ({:.2f} to {:.2f})", 1e3 * step.seconds, 1e3 * step.lowSeconds, 1e3 * step.highSeconds),
        1e-6 * p.cacheBytes, rate(p.countedRate()), rate(p.measuredRate()), share, sourceOf(r, step));
  }
  return text;
}

/// Shows every row once, as it comes.
class Table {
public:
  explicit Table(ProgressLine &line) : m_line(line) {}
  void show(const ProfileResult &r) {
    std::string text;
    if (r.instruments.empty()) return; // they come last of what is known before the first point
    if (!std::exchange(m_begun, true)) text += head(r);
    if (!r.peaks.empty() && !std::exchange(m_columns, true)) text += columns(r);
    for (; m_steps < r.steps.size(); ++m_steps) text += row(r, r.steps[m_steps]);
    for (; m_problems < r.problems.size(); ++m_problems) text += fmt::format("  problem: {}\n", r.problems[m_problems].text);
    for (; m_log < r.log.size(); ++m_log) text += fmt::format("  {}: {}\n", r.log[m_log].level, r.log[m_log].text);
    m_line.show("");
    print(text);
  }

private:
  ProgressLine &m_line;
  bool m_begun = false, m_columns = false;
  std::size_t m_steps = 0, m_problems = 0, m_log = 0;
};

constexpr const char *kLegend =
    "\ncache MB read: counted, the format bytes of all caches, once a step. counted GB/s: all bytes that operations read "
    "and\n"
    "write, from shapes, over the step's time; measured GB/s: bytes between memory and chip, from the device's counters.\n"
    "rebuild+read: share of a traced step's time in which the cache is written, rebuilt and read.\n";

// JSON ------------------------------------------------------------------------------------------------------------------

template <class Row> json rowJson(const Row &row) {
  json object = json::object();
  Row::visit(row, [&](const char *name, const auto &value) { object[name] = value; });
  return object;
}

template <class Row> json rowsJson(const std::vector<Row> &rows) {
  json list = json::array();
  for (const Row &row : rows) list.push_back(rowJson(row));
  return list;
}

std::string resultJson(const ProfileResult &r, bool microscope) {
  json object = {
      {"run", rowJson(r.run)},           {"policies", rowsJson(r.policies)}, {"instruments", rowsJson(r.instruments)},
      {"peaks", rowsJson(r.peaks)},      {"steps", rowsJson(r.steps)},       {"traffic", rowsJson(r.traffic)},
      {"problems", rowsJson(r.problems)}};
  if (microscope) object["kernels"] = rowsJson(r.kernels);
  return object.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

// Running ---------------------------------------------------------------------------------------------------------------

struct ShapeOnBackend {
  BackendPtr backend; // before what holds its memory
  std::unique_ptr<LoadedShape> shape;
};

ProfileResult profileIt(const ProfileRequest &request, RunStore &store, ProgressLine &line, const ProfileHooks &hooks) {
  if (request.shape.empty()) {
    SessionOptions options;
    options.model = request.model, options.backend = request.backend, options.threads = request.threads;
    return profileSession(*openSession(options, line), request, store, hooks);
  }
  LoadedShape::open(request.shape, request.layers, request.seed); // what is wrong with it is said before a device starts
  const ShapeOnBackend open = orOnTheCpu(request.backend, [&](const std::string &name) {
    BackendPtr backend = openBackend(backends(), name, request.threads).backend;
    auto shape = loadShape(*backend, request, hooks);
    return ShapeOnBackend{std::move(backend), std::move(shape)};
  });
  const int threads = request.threads > 0 ? request.threads : coreCount();
  return runProfile({open.shape->model(), open.shape->calibration(), threads}, request, store, hooks);
}

/// What cannot be written is said before anything is measured.
void requireWritable(const std::string &path, const char *what) {
  if (path.empty()) return;
  std::error_code none;
  const bool there = std::filesystem::exists(path, none);
  if (!std::ofstream(path, std::ios::app))
    throw Error(Code::StoreUnwritable,
                fmt::format("{} '{}' cannot be written; check the folder, its permissions and the disk", what, path));
  if (!there) std::filesystem::remove(path, none); // nothing to leave behind where nothing comes of it
}

void profile(const Options &options) {
  const ProfileRequest request = requestOf(options);
  RunStore store(options.store);
  ProgressLine line;
  Table table(line);
  ProfileHooks hooks;
  hooks.stop = interrupted();
  hooks.progress = [&](const RunProgress &progress) { line.show(progress); };
  const auto writeJson = [&](const ProfileResult &result) {
    if (!options.json.empty()) writeTextFile(options.json, resultJson(result, request.microscope), "figures");
  };
  hooks.grown = [&](const ProfileResult &result) { // each point is shown and written when it is known
    table.show(result);
    writeJson(result);
  };
  requireWritable(options.json, "figures"), requireWritable(options.report, "report");
  const ProfileResult result = profileIt(request, store, line, hooks);
  store.close();
  print(kLegend);
  if (request.microscope) print(kernelTables(result));
  if (!options.report.empty()) writeReport(options.store, options.report);
}

void addSettings(const Command &command, Options &o) {
  command
      .option("--context,--contexts", o.contexts, "N,N,...",
              "tokens that each cache holds; 2048,8192,32768, on the CPU 512,1024,2048")
      .range(1, 1 << 24);
  command.option("--batch,--batches", o.batches, "N,N,...", "sequences that are decoded together; 1").range(1, 4096);
  addPolicyOption(command, o.policies);
  command.option("--steps", o.steps, "N", "that are timed at each point; 32, on the CPU 6").range(1, 100'000);
  command.option("--form", o.form, "NAME",
                 fmt::format("how K and V are rebuilt: {}; the default is {}", fmt::join(decodeFormNames(), ", "),
                             decodeFormName(ProfileRequest{}.form)));
  command.option("--placement", o.placement, "NAME", "of the caches: device, host (copied layer by layer)");
  command.option("--backend", o.backend, "NAME", "auto: cuda where it can be used, else cpu; see info --backends");
  command.option("--threads", o.threads, "N", "0: one a core").range(0, 1024);
  command.option("--seed", o.seed, "N", "of cached rows, and of a shape's weights").range(0, 4294967295);
  command.option("--sampling-us", o.sampling, "N", "between samples of the device's traffic; 0: none").range(0, 1'000'000);
  command.flag("--hit-rate", o.hitRate, "the true L2 hit rate too, where the device has counters");
  command.flag("--microscope", o.microscope,
               "what every kernel of a step moves, each counted by itself; slow: each is replayed");
  command.flag("--no-counters", o.noCounters, "no bytes from the device's counters");
  command.flag("--no-costs", o.noCosts, "do not measure what the instruments cost");
  command.flag("--no-kernels", o.noKernels, "no row for every launch: a small store");
}

} // namespace

void addProfile(const Command &app) {
  const auto options = std::make_shared<Options>();
  Options &o = *options;
  const Command command =
      app.add("profile", "What decoding moves and how long it takes: bandwidth saved against rebuild cost, into a store");
  const Option model = command.option("--model", o.model, "F", "GGUF file, synthetic:... or default, which is the default");
  command.option("--shape", o.shape, "NAME", shapeNames() + ": random weights in its place").excludes(model);
  command.option("--layers", o.layers, "N", "of the shape, for small machines; 0: all").range(0, 1024);
  Option quick = command.flag("--quick", o.quick, "one context of 512 tokens, four policies, few steps, no costs");
  command.option("--spec", o.spec, "F.json", "a request, as a run's spec has it; options given beside it count")
      .excludes(quick);
  addSettings(command, o);
  command.option("--store", o.store, "F.xqs", "the .xqs file to append to").required();
  command.option("--report", o.report, "F.html", "write a self-contained HTML report too");
  command.option("--json", o.json, "FILE", "the figures as JSON, besides the table");
  command.about(
      "A step is one token of every sequence with its logits, over caches filled with random rows. At each context, "
      "batch and policy steps are timed with all instruments off, then one is traced and one counted. Bytes are "
      "counted from shapes; where the device's counters can be used and have passed their self test, measured "
      "bytes stand beside them. A point that does not fit is a problem of the run, the others go on. The keys of a "
      "request: " +
      profileKeys() + ".");
  command.does([options] { profile(*options); });
}

} // namespace xqs::cli
