// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <string>
#include <sys/types.h>
#include <vector>

namespace xqs::test {

/// What a program did.
struct Outcome {
  int exitCode = -1;     ///< -1: it did not exit by itself
  int signal = 0;        ///< that ended it
  bool timedOut = false; ///< and was killed
  std::string out, err;
};

/// A limit for a process, set before it starts; -1: none.
struct Limits {
  long fileBytes = -1; ///< RLIMIT_FSIZE: a disk that is full after that many bytes
};

constexpr std::chrono::seconds kPatience(90); ///< what takes longer hangs: far beyond any command of these tests

/// Runs xqscope-cli with standard input closed.
Outcome runCli(const std::vector<std::string> &arguments, const Limits &limits = {},
               std::chrono::seconds patience = kPatience);

/// What it wrote as JSON; it ended well and said nothing else.
nlohmann::json parsed(const Outcome &outcome);

/// `outcome` is a refusal: this exit code and exactly one sentence on stderr. Gives the sentence.
std::string expectRefusal(const Outcome &outcome, int exitCode);

/// xqscope-cli with pipes, for the engine protocol and for signals.
class RunningCli {
public:
  explicit RunningCli(const std::vector<std::string> &arguments, const Limits &limits = {});
  ~RunningCli(); ///< kills what still runs
  RunningCli(const RunningCli &) = delete;
  RunningCli &operator=(const RunningCli &) = delete;

  void send(const nlohmann::json &command);
  void sendText(const std::string &text);
  void closeInput();
  void closeOutput(); ///< nobody reads its stdout any more
  void signal(int number);
  /// The next line of stdout as JSON; null after `patience` or at the end.
  nlohmann::json next(std::chrono::seconds patience = kPatience);
  /// Reads events until one is called `name`; null where none came.
  nlohmann::json until(const std::string &name, std::chrono::seconds patience = kPatience);
  /// Waits for the end and gives what was not read yet.
  Outcome wait(std::chrono::seconds patience = kPatience);

private:
  bool readSome(int timeoutMs);
  pid_t m_pid = -1;
  int m_in = -1, m_out = -1, m_err = -1;
  Outcome m_outcome; ///< out: not yet given
};

} // namespace xqs::test
