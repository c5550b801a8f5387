// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "run/serve.h"

#include <csignal>
#include <sys/prctl.h>
#include <unistd.h>

namespace xqs::cli {

void addServe(const Command &app) {
  const Command command = app.add("serve", "The window's engine process: JSON commands on stdin, events on stdout");
  command.about(serveHelp());
  command.does([] {
    const std::stop_token stop = interrupted();
    prctl(PR_SET_PDEATHSIG, SIGTERM); // an engine without its window has no purpose
    serve(backends(), STDIN_FILENO, STDOUT_FILENO, stop);
  });
}

} // namespace xqs::cli
