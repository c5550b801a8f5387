// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "run/backends.h"
#include "run/session.h"
#include "run/study_runner.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

/// What the subcommands of xqscope-cli share. A subcommand is one file that adds itself to the app and does its work in the
/// callback; errors are thrown and become one sentence and an exit code in main.
namespace xqs::cli {

/// One line a subcommand (main.cpp).
void addInfo(CLI::App &app);
void addPolicies(CLI::App &app);
void addEval(CLI::App &app);
void addLayers(CLI::App &app);
void addRun(CLI::App &app);
void addServe(CLI::App &app);
void addStudies(CLI::App &app);
void addMerge(CLI::App &app);
void addCompare(CLI::App &app);
void addPareto(CLI::App &app);
void addGenerate(CLI::App &app);
void addReport(CLI::App &app);
void addExport(CLI::App &app);
void addSlurm(CLI::App &app);
void addSensitivity(CLI::App &app);
void addSolve(CLI::App &app);
void addTask(CLI::App &app);

/// The CPU backends and the modules beside the program; looked for on first use.
std::span<const BackendInfo> backends();

/// Requested by SIGINT and SIGTERM; a second signal ends the process at once. The first call starts watching.
std::stop_token interrupted();

/// Writes to stdout. Throws StoreUnwritable where it cannot be written (a full disk behind a redirection).
void print(std::string_view text);
void printJson(const nlohmann::json &json); ///< one line; NaN and infinities are null, text that is not UTF-8 is replaced

/// Replaces a file by a text; `what` names it in messages ("report"). Throws StoreUnwritable.
void writeTextFile(const std::string &path, std::string_view text, std::string_view what);

/// Model, text, backend and threads, with the same names everywhere.
void addSessionOptions(CLI::App &command, SessionOptions &options);
/// --calibration, --calibration-first-window, --calibration-windows.
void addCalibrationOptions(CLI::App &command, CalibrationSource &source);
/// --window, --first-window, --windows (where not null), --policy.
void addWindowOptions(CLI::App &command, Index &window, Index &firstWindow, Index *windows,
                      std::vector<std::string> &policies);
/// The study argument and --set.
void addStudyOptions(CLI::App &command, std::string &spec, std::vector<std::string> &settings);
/// A file or a built-in study, with --set's KEY=VALUE applied.
inline constexpr std::size_t kMaxStudyBytes = 1 << 22;
Study loadStudy(const std::string &spec, const std::vector<std::string> &settings);
std::vector<PolicySpec> parsePolicies(const std::vector<std::string> &texts);

/// One line on stderr that is rewritten, where stderr is a terminal; else silent.
class ProgressLine {
public:
  ProgressLine();
  ~ProgressLine(); ///< clears the line
  ProgressLine(const ProgressLine &) = delete;
  ProgressLine &operator=(const ProgressLine &) = delete;
  void show(const std::string &text);
  void show(double fraction, const std::string &text);
  void show(const RunProgress &progress); ///< with rate and time left
  void show(const StudyProgress &progress);

private:
  bool m_terminal;
  bool m_dirty = false;
};

/// Loads model and text with progress.
std::unique_ptr<Session> openSession(const SessionOptions &options, ProgressLine &line);

/// Writes the HTML report of a store (report.cpp).
void writeReport(const std::string &store, const std::string &output);

/// Help texts made from the registry and from core/api/error.h.
std::string policyHelp();
std::string exitCodeHelp();

} // namespace xqs::cli
