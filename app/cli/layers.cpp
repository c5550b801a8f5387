// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "run/results.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace xqs::cli {

namespace {

struct Options {
  SessionOptions session;
  Index window = 512, firstWindow = 0;
  std::vector<std::string> policies;
  bool json = false;
};

void showLayers(const Options &options) {
  const std::stop_token stop = interrupted();
  const std::vector<PolicySpec> policies = parsePolicies(options.policies);
  LayersResult result;
  {
    ProgressLine line;
    const auto session = openSession(options.session, line);
    session->planWindows(options.window, options.firstWindow, 1);
    const auto check = session->inputs().misfitCheck(options.window, options.firstWindow, 1);
    std::for_each(policies.begin(), policies.end(), check);
    result = runLayers(
        *session, session->windowTokens(options.window, options.firstWindow), policies,
        [&](const std::string &text) { line.show(text); }, stop);
  }
  if (options.json)
    printJson(layersJson(result));
  else
    print(layersTable(result));
}

} // namespace

void addLayers(const Command &app) {
  const auto options = std::make_shared<Options>();
  const Command command =
      app.add("layers", "Open loop of one window: K and V errors a layer, similarity of layers, outliers");
  addSessionOptions(command, options->session);
  addWindowOptions(command, options->window, options->firstWindow, nullptr);
  addPolicyOption(command, options->policies).required();
  command.flag("--json", options->json, "one JSON object instead of a table");
  command.does([options] { showLayers(*options); });
}

} // namespace xqs::cli
