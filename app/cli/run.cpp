// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "error.h"
#include "jobs.h"
#include "model/input_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace xqs::cli {

namespace {

struct Options {
  std::string spec, store, known, report, backend, shard = "1/1";
  std::vector<std::string> settings;
  int jobs = 1, threads = 0;
  bool dryRun = false, json = false, progressJson = false;
};

/// "i/n" with 1 <= i <= n.
void readShard(const std::string &text, StudyPart &part) {
  const char *end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, part.shard);
  const bool slash = first.ec == std::errc{} && first.ptr != end && *first.ptr == '/';
  const auto second = slash ? std::from_chars(first.ptr + 1, end, part.shards) : first;
  if (!slash || second.ec != std::errc{} || second.ptr != end || part.shard < 1 || part.shard > part.shards)
    throw Error(Code::Usage, fmt::format("--shard '{}' must be i/n with i from 1 to n, as 2/8", text));
}

void show(const StudyOutcome &outcome, const Study &study) {
  std::string text = fmt::format("study '{}': {} windows under a policy, {} of them computed now\n", study.name(),
                                 outcome.points, outcome.computed);
  for (const std::string &problem : outcome.problems) text += "  problem: " + problem + "\n";
  print(text);
}

/// Where the GPU fails before it has begun with anything, `auto` is the CPU.
StudyOutcome runHere(const Study &study, StudyPart &part, const Options &options) {
  bool started = false;
  ProgressLine line;
  StudyHooks hooks;
  hooks.stop = interrupted();
  hooks.started = [&](RowId) { started = true; };
  hooks.progress = [&](const StudyProgress &progress) {
    if (options.progressJson)
      printJson({{"fraction", progress.fraction}, {"seconds_left", progress.secondsLeft}, {"text", progress.text}});
    else
      line.show(progress);
  };
  try {
    return runStudy(study, part, backends(), hooks, options.threads);
  } catch (const Error &error) {
    if (started || study.backend() != kAutoBackend || !isDeviceFault(error.code(), part.autoBackend)) throw;
    say(fmt::format("goes on with the CPU: {}", error.what()));
  }
  part.autoBackend = kHostBackend;
  return runStudy(study, part, backends(), hooks, options.threads);
}

void runStudyOrExperiment(const Options &options) {
  const Study study = loadStudy(options.spec, options.settings);
  StudyPart part;
  part.autoBackend = chooseBackend(backends(), kAutoBackend).name;
  part.store = options.store, part.known = options.known;
  readShard(options.shard, part);
  if (options.dryRun) {
    const std::vector<PlannedRun> runs = planStudy(study, part);
    const TimeEstimate time = estimateTime(runs, part.store, backends());
    return options.json ? printJson(planJson(study, runs, time)) : print(planTable(study, runs, time));
  }
  if (options.store.empty()) throw Error(Code::Usage, "run needs --store F.xqs, where results go, or --dry-run");
  if (options.jobs > 1 && !options.known.empty())
    throw Error(Code::Usage,
                "--jobs and --known do not go together: merge the known store first, its points are then skipped");
  interrupted();
  mergeLeftParts(part.store);
  Index byJobs = 0;
  if (options.jobs > 1) {
    const auto missing = [&] {
      Index sum = 0;
      for (const PlannedRun &run : planStudy(study, part)) sum += run.missing();
      return sum;
    };
    byJobs = missing();
    runJobs({options.spec, options.settings, part, options.jobs, options.threads});
    byJobs -= missing();
  }
  StudyOutcome outcome = runHere(study, part, options); // after jobs: what is left, and the ends of runs
  outcome.computed += byJobs;
  if (!options.report.empty()) writeReport(options.store, options.report);
  if (!options.progressJson && !study.isExperiment()) show(outcome, study);
  if (!outcome.failedRuns.empty()) throw outcome.failedRuns.front();
}

} // namespace

Study loadStudy(const std::string &spec, const std::vector<std::string> &settings) {
  const std::vector<std::string> names = Study::builtInNames();
  std::error_code none;
  const bool looksLikeAName = spec.find_first_of("./") == std::string::npos && !std::filesystem::exists(spec, none);
  Study study = looksLikeAName || std::find(names.begin(), names.end(), spec) != names.end()
                    ? Study::builtIn(spec)
                    : Study::parse(readRegularFile(spec, "study", kMaxStudyBytes), spec);
  for (const std::string &setting : settings) {
    const std::size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0)
      throw Error(Code::Usage, fmt::format("--set '{}' must be KEY=VALUE, as --set windows=2", setting));
    study.set(setting.substr(0, equals), setting.substr(equals + 1));
  }
  return study;
}

void addStudyOptions(const Command &command, std::string &spec, std::vector<std::string> &settings) {
  command
      .option("study", spec, "F.json|NAME",
              fmt::format("JSON file of a study or an experiment, or one of {}", fmt::join(Study::builtInNames(), ", ")))
      .required();
  command.option("--set", settings, "KEY=VALUE",
                 "another value for a key of the study's base, as windows=2; may be repeated");
}

void addRun(const Command &app) {
  const auto options = std::make_shared<Options>();
  const Command command = app.add("run", "Run a study or an experiment into a store; what the store has is skipped");
  addStudyOptions(command, options->spec, options->settings);
  command.option("--store", options->store, "F.xqs", "the .xqs file to append to, or to continue in");
  command.option("--shard", options->shard, "i/n",
                 "every n-th policy of the study, for a store of its own that is merged later");
  command.option("--jobs", options->jobs, "N", "processes side by side; each needs its own memory for the model")
      .range(1, 256);
  command.option("--threads", options->threads, "N", "of each process; 0: as the study says, or the cores shared among jobs")
      .range(0, 1024);
  command.option("--known", options->known, "F.xqs", "skip what this store has too");
  command.flag("--dry-run", options->dryRun, "only list the points with their bytes, what is missing and for how long");
  command.flag("--json", options->json, "the list of --dry-run as JSON");
  command.flag("--progress-json", options->progressJson, "progress as JSON lines on standard output, for programs");
  command.option("--report", options->report, "F.html", "write a self-contained HTML report too");
  command.about(
      "A study varies settings: {\"base\": {...}, \"grid\": {\"policy\": [...], \"bits\": [...]}, \"policies\": [...], "
      "\"isolated\": {...}};\nxqscope-cli studies NAME prints a built-in one to start from. An experiment is one run; "
      "the built-in one,\nas an example (missing keys take the defaults shown here):\n" +
      toJson(defaultExperiment()).dump(2) + "\n\nxqscope-cli policies lists what a policy may say.");
  command.option("--backend", options->backend, "NAME",
                 "the same as --set backend=NAME; figures of two backends are two runs");
  command.does([options] {
    if (!options->backend.empty()) options->settings.push_back("backend=" + options->backend);
    runStudyOrExperiment(*options);
  });
}

} // namespace xqs::cli
