// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "run/serve.h"

#include <csignal>
#include <sys/prctl.h>
#include <unistd.h>

namespace xqs::cli {

void addServe(CLI::App &app) {
  CLI::App *command = app.add_subcommand("serve", "The window's engine process: JSON commands on stdin, events on stdout");
  command->footer(serveHelp() + "\n" + exitCodeHelp());
  command->callback([] {
    const std::stop_token stop = interrupted();
    prctl(PR_SET_PDEATHSIG, SIGTERM); // an engine without its window has no purpose
    serve(backends(), STDIN_FILENO, STDOUT_FILENO, stop);
  });
}

} // namespace xqs::cli
