// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include <nlohmann/json.hpp>

namespace xqs::cli {

namespace {

constexpr std::size_t kMaxSpecBytes = 1 << 20;

struct Options {
  std::string spec, store, report;
};

void runExperiment(const Options &options) {
  const std::stop_token stop = interrupted();
  const Experiment experiment =
      options.spec == "default" ? defaultExperiment()
                                : parseExperiment(readRegularFile(options.spec, "experiment", kMaxSpecBytes), options.spec);
  RunStore store(options.store);
  {
    ProgressLine line;
    const auto session = openSession({experiment.model, experiment.text, experiment.backend, experiment.threads, {}}, line);
    RunHooks hooks;
    hooks.stop = stop;
    hooks.progress = [&](const RunProgress &progress) { line.show(progress); };
    Runner(*session, experiment, &store).run(hooks);
  }
  store.close();
  if (!options.report.empty()) writeReport(options.store, options.report);
}

} // namespace

void addRun(CLI::App &app) {
  const auto options = std::make_shared<Options>();
  CLI::App *command = app.add_subcommand("run", "Run an experiment into a store");
  command->add_option("spec", options->spec, "JSON file, or default for the built-in experiment")
      ->type_name("F.json")
      ->required();
  command->add_option("--store", options->store, "the .xqs file to append the run to")->type_name("F.xqs")->required();
  command->add_option("--report", options->report, "write a self-contained HTML report too")->type_name("F.html");
  command->footer("The built-in experiment, as an example (missing keys take the defaults shown here):\n" +
                  toJson(defaultExperiment()).dump(2) + "\n\n" + policyHelp() + "\n" + exitCodeHelp());
  command->callback([options] { runExperiment(*options); });
}

} // namespace xqs::cli
