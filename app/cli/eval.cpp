// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "run/results.h"

#include <nlohmann/json.hpp>

namespace xqs::cli {

namespace {

struct Options {
  SessionOptions session;
  Experiment experiment;
  std::vector<std::string> policies;
  std::string state = "all", protocol = "paper";
  std::string store;
  bool json = false;
};

void evaluate(Options options) {
  const std::stop_token stop = interrupted();
  Experiment &experiment = options.experiment;
  experiment.model = options.session.model, experiment.text = options.session.text;
  experiment.backend = options.session.backend, experiment.threads = options.session.threads;
  experiment.calibration = options.session.calibration;
  experiment.state = parseState(options.state);
  experiment.protocol = parseProtocol(options.protocol);
  experiment.policies = parsePolicies(options.policies);
  const auto store = options.store.empty() ? nullptr : std::make_unique<RunStore>(options.store);
  RunResult result;
  {
    ProgressLine line;
    const auto session = openSession(options.session, line);
    RunHooks hooks;
    hooks.stop = stop;
    hooks.progress = [&](const RunProgress &progress) { line.show(progress); };
    result = Runner(*session, experiment, store.get()).run(hooks);
  }
  if (store) store->close();
  if (options.json)
    printJson(evalJson(result));
  else
    print(evalTable(result));
}

} // namespace

void addEval(const Command &app) {
  const auto options = std::make_shared<Options>();
  const Command command = app.add("eval", "Teacher-forced perplexity, KL and top-1 agreement of cache policies");
  addSessionOptions(command, options->session);
  addWindowOptions(command, options->experiment.window, options->experiment.firstWindow, &options->experiment.windows);
  addPolicyOption(command, options->policies).required();
  command
      .option("--state", options->state, "all|stream",
              "all: everything quantized, as published tables; stream: what decoding sees")
      .shown();
  command
      .option("--protocol", options->protocol, "paper|llama-perplexity",
              "paper: every position of a window; llama-perplexity: its second half, first token BOS")
      .shown();
  command.flag("--noise-floor", options->experiment.noiseFloor,
               "the first window once more, embeddings perturbed by 1e-6: what a difference must exceed");
  command.option("--lanes", options->experiment.lanes, "N", "policies side by side; more need more memory")
      .shown()
      .range(1, 64);
  command.option("--store", options->store, "F.xqs", "append the run, with captures, to this .xqs file");
  command.flag("--json", options->json, "one JSON object instead of a table");
  command.does([options] { evaluate(*options); });
}

} // namespace xqs::cli
