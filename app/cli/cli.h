// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "command.h"
#include "progress.h"
#include "run/backends.h"
#include "run/session.h"

#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

/// What the subcommands of xqscope-cli share. A subcommand is one file that adds itself with its options and says what it
/// does; errors are thrown and become one sentence and an exit code in main.
namespace xqs::cli {

/// One line a subcommand (main.cpp).
void addInfo(const Command &app);
void addPolicies(const Command &app);
void addEval(const Command &app);
void addLayers(const Command &app);
void addRun(const Command &app);
void addServe(const Command &app);
void addStudies(const Command &app);
void addMerge(const Command &app);
void addCompare(const Command &app);
void addPareto(const Command &app);
void addGenerate(const Command &app);
void addReport(const Command &app);
void addExport(const Command &app);
void addSlurm(const Command &app);
void addSensitivity(const Command &app);
void addSolve(const Command &app);
void addTask(const Command &app);
void addBench(const Command &app);
void addProfile(const Command &app);
void addVerdict(const Command &app);

/// The CPU backends and the modules beside the program; looked for on first use.
std::span<const BackendInfo> backends();

/// Requested by SIGINT and SIGTERM; a second signal ends the process at once. The first call starts watching.
std::stop_token interrupted();

/// Writes to stdout. Throws StoreUnwritable where it cannot be written (a full disk behind a redirection).
void print(std::string_view text);
void printJson(const nlohmann::json &json); ///< one line; NaN and infinities are null, text that is not UTF-8 is replaced

/// Replaces a file by a text; `what` names it in messages ("report"). Throws StoreUnwritable.
void writeTextFile(const std::string &path, std::string_view text, std::string_view what);

/// Model, backend, threads and the text of calibration, with the same names everywhere.
void addModelOptions(const Command &command, SessionOptions &options);
/// The same and --text.
void addSessionOptions(const Command &command, SessionOptions &options);
Option addPolicyOption(const Command &command, std::vector<std::string> &policies);
/// --window, --first-window, --windows (where not null).
void addWindowOptions(const Command &command, Index &window, Index &firstWindow, Index *windows);
/// The study argument and --set.
void addStudyOptions(const Command &command, std::string &spec, std::vector<std::string> &settings);
/// A file or a built-in study, with --set's KEY=VALUE applied.
inline constexpr std::size_t kMaxStudyBytes = 1 << 22;
Study loadStudy(const std::string &spec, const std::vector<std::string> &settings);
std::string shapeNames(); ///< of built-in shapes, "a, b"
std::vector<PolicySpec> parsePolicies(const std::vector<std::string> &texts);

/// One line on stderr that is no error.
void say(const std::string &sentence);

/// `open(name)` of a backend. Where that is `auto` and what fails is the GPU, says so and opens with the CPU.
template <class Open> auto orOnTheCpu(const std::string &backend, const Open &open) {
  try {
    return open(backend);
  } catch (const Error &error) {
    if (backend != kAutoBackend || !isDeviceFault(error.code(), chooseBackend(backends(), backend).name)) throw;
    say(std::string("goes on with the CPU: ") + error.what());
  }
  return open(kHostBackend);
}

/// Loads model and text with progress; `auto` as above.
std::unique_ptr<Session> openSession(const SessionOptions &options, ProgressLine &line);

/// Writes the HTML report of a store (report.cpp).
void writeReport(const std::string &store, const std::string &output);

std::string exitCodeHelp(); ///< made from core/api/error.h

} // namespace xqs::cli
