// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "error.h"
#include "model/utf8.h"

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

namespace {

using namespace xqs;

constexpr std::size_t kMostBytes = 800; // of a message: a path may be 4096 long

int fail(int code, std::string message) {
  message = printable(message, std::string::npos); // one line, whatever a file is called
  if (message.size() > kMostBytes)
    message = message.substr(0, kMostBytes / 2) + "..." + message.substr(message.size() - kMostBytes / 2);
  std::fprintf(stderr, "xqscope-cli: %s\n", message.c_str());
  return code;
}

int runCommand(int argc, char **argv) {
  CLI::App app("XQScope: what compressing a language model's KV cache does to it", "xqscope-cli");
  app.set_version_flag("--version", std::string("xqscope-cli ") + XQS_VERSION);
  app.require_subcommand(1);
  app.footer(cli::exitCodeHelp());
  app.get_formatter()->column_width(36);
  for (auto *const add : {cli::addInfo, cli::addPolicies, cli::addEval, cli::addLayers, cli::addRun, cli::addGenerate,
                          cli::addStudies, cli::addMerge, cli::addCompare, cli::addPareto, cli::addSensitivity,
                          cli::addSolve, cli::addReport, cli::addServe, cli::addExport, cli::addSlurm, cli::addTask})
    add(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp &) {
    cli::print(app.help());
  } catch (const CLI::CallForAllHelp &) {
    cli::print(app.help("", CLI::AppFormatMode::All));
  } catch (const CLI::CallForVersion &version) {
    cli::print(std::string(version.what()) + "\n");
  } catch (const CLI::ParseError &error) {
    return fail(exitCode(Code::Usage), std::string(error.what()) + "; see xqscope-cli --help");
  }
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  std::signal(SIGPIPE, SIG_IGN); // a closed pipe is an error of the write, not the end of the process
  std::signal(SIGXFSZ, SIG_IGN); // likewise a file that may not grow
  try {
    return runCommand(argc, argv);
  } catch (const Error &error) {
    if (error.code() == Code::Cancelled)
      return fail(exitCode(Code::Cancelled),
                  "stopped before the end; windows that were finished are in the store, if one was given");
    return fail(exitCode(error.code()), error.what());
  } catch (const std::bad_alloc &) {
    return fail(exitCode(Code::OutOfMemory),
                "not enough memory; use a shorter window, fewer policies at once or a smaller model");
  } catch (const std::exception &error) {
    return fail(exitCode(Code::Internal), std::string("internal error, please report it: ") + error.what());
  }
}
