// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "error.h"
#include "store/run_store.h"

#include <gtest/gtest.h>

#include <functional>
#include <sys/wait.h>
#include <unistd.h>

namespace xqs::test {

/// A folder of its own that is removed at the end.
class TempFolder {
public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "xqs-store-XXXXXX").string();
    m_path = ::mkdtemp(pattern.data());
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::permissions(m_path, std::filesystem::perms::owner_all, ignored);
    std::filesystem::remove_all(m_path, ignored);
  }
  std::filesystem::path operator/(const std::string &name) const { return m_path / name; }
  const std::filesystem::path &path() const { return m_path; }

private:
  std::filesystem::path m_path;
};

/// The error that `action` throws; fails the test where it throws none.
inline std::pair<Code, std::string> errorOf(const std::function<void()> &action) {
  try {
    action();
  } catch (const Error &error) {
    return {error.code(), error.what()};
  }
  ADD_FAILURE() << "no Error was thrown";
  return {Code::Internal, ""};
}

/// Starts `body` in a child process; its return value is the exit code. Call from a program with one thread only.
inline pid_t startChild(const std::function<int()> &body) {
  const pid_t child = ::fork();
  if (child == 0) {
    int result = 99;
    try {
      result = body();
    } catch (const std::exception &error) {
      std::fprintf(stderr, "child: %s\n", error.what());
    }
    ::_exit(result);
  }
  return child;
}

/// Waits for a child; gives its wait status.
inline int statusOf(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}
inline int inChild(const std::function<int()> &body) { return statusOf(startChild(body)); }

inline RunRow exampleRun() {
  RunRow run;
  run.uuid = "0d0c", run.startedUtc = "2025-01-01T00:00:00Z", run.kind = "eval", run.model = "synthetic \"ü\"";
  run.layers = 3, run.d = 64, run.spec = "{}";
  return run;
}

inline LogRow exampleLog(RowId run, const std::string &text) {
  LogRow row;
  row.run = run, row.utc = "2025-01-01T00:00:01Z", row.level = "info", row.text = text;
  return row;
}

inline RunEndRow exampleEnd(RowId run) {
  RunEndRow row;
  row.run = run, row.status = "finished", row.seconds = 1.5;
  return row;
}

} // namespace xqs::test
