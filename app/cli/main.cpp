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

constexpr void (*kCommands[])(const cli::Command &) = {
    cli::addInfo,        cli::addPolicies, cli::addEval,   cli::addLayers,  cli::addRun,
    cli::addGenerate,    cli::addStudies,  cli::addMerge,  cli::addCompare, cli::addPareto,
    cli::addSensitivity, cli::addSolve,    cli::addReport, cli::addServe,   cli::addExport,
    cli::addSlurm,       cli::addTask,     cli::addBench,  cli::addProfile, cli::addVerdict};

} // namespace

int main(int argc, char **argv) {
  std::signal(SIGPIPE, SIG_IGN); // a closed pipe is an error of the write, not the end of the process
  std::signal(SIGXFSZ, SIG_IGN); // likewise a file that may not grow
  try {
    cli::runCommandLine(argc, argv, kCommands);
    return 0;
  } catch (const Error &error) {
    if (error.code() == Code::Cancelled)
      return fail(exitCode(Code::Cancelled), "stopped before the end; what was finished is in the store, if one was given");
    return fail(exitCode(error.code()), error.what());
  } catch (const std::bad_alloc &) {
    return fail(exitCode(Code::OutOfMemory),
                "not enough memory; use a shorter window, fewer policies at once or a smaller model");
  } catch (const std::exception &error) {
    return fail(exitCode(Code::Internal), std::string("internal error, please report it: ") + error.what());
  }
}
