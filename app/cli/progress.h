// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "run/study_runner.h"

#include <chrono>
#include <cstdio>
#include <string>

namespace xqs::cli {

/// How far a command is: one line that is rewritten, where the stream is a terminal; else the newest, as a line every
/// `every`, so that a log shows that work goes on.
class ProgressLine {
public:
  explicit ProgressLine(std::FILE *stream = stderr, std::chrono::milliseconds every = std::chrono::seconds(30));
  ~ProgressLine(); ///< clears the line
  ProgressLine(const ProgressLine &) = delete;
  ProgressLine &operator=(const ProgressLine &) = delete;
  void show(const std::string &text);
  void show(double fraction, const std::string &text);
  void show(const RunProgress &progress); ///< with rate and time left
  void show(const StudyProgress &progress);

private:
  void log(const std::string &text);

  std::FILE *m_stream;
  bool m_terminal;
  bool m_dirty = false;
  std::chrono::milliseconds m_every;
  std::chrono::steady_clock::time_point m_logged = std::chrono::steady_clock::now();
};

} // namespace xqs::cli
