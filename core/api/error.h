// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>

namespace xqs {

/// What went wrong, for programs; the message says what, where and what to do. `errorName` is stable and goes into the
/// store and into JSON; `exitCode` is what the command line returns.
enum class Code {
  Usage,           ///< a command line, JSON or policy that cannot be understood: correct it
  NotFound,        ///< a file that is not there
  Unreadable,      ///< a file that is there and cannot be used (directory, FIFO, no permission, I/O error)
  BadFile,         ///< a file whose content is wrong: truncated, wrong magic, absurd counts
  Unsupported,     ///< an architecture, tensor type, tokenizer or setting that this program does not know
  TextTooShort,    ///< fewer tokens than the windows asked for
  StoreUnwritable, ///< the result store cannot be created or written (read-only, disk full)
  OutOfMemory,     ///< bytes needed against bytes free
  BackendUnusable, ///< no such backend, or no device for it
  Cancelled,       ///< the user stopped the run; finished windows are kept
  Internal,        ///< a bug: please report
};

constexpr const char *errorName(Code code) {
  switch (code) {
  case Code::Usage: return "usage";
  case Code::NotFound: return "not-found";
  case Code::Unreadable: return "unreadable";
  case Code::BadFile: return "bad-file";
  case Code::Unsupported: return "unsupported";
  case Code::TextTooShort: return "text-too-short";
  case Code::StoreUnwritable: return "store-unwritable";
  case Code::OutOfMemory: return "out-of-memory";
  case Code::BackendUnusable: return "backend-unusable";
  case Code::Cancelled: return "cancelled";
  case Code::Internal: return "internal";
  }
  return "internal";
}

/// Exit codes of `xqscope-cli`: 0 success, 2 usage, 3 input, 4 output, 5 resources, 6 cancelled, 70 bug.
constexpr int exitCode(Code code) {
  switch (code) {
  case Code::Usage: return 2;
  case Code::NotFound:
  case Code::Unreadable:
  case Code::BadFile:
  case Code::Unsupported:
  case Code::TextTooShort: return 3;
  case Code::StoreUnwritable: return 4;
  case Code::OutOfMemory:
  case Code::BackendUnusable: return 5;
  case Code::Cancelled: return 6;
  case Code::Internal: return 70;
  }
  return 70;
}

/// The one exception type. Thrown where the world is at fault, caught in `Runner`, in `main` and at a plug-in's C entry.
class Error : public std::runtime_error {
public:
  Error(Code code, const std::string &message) : std::runtime_error(message), m_code(code) {}
  Code code() const noexcept { return m_code; }

private:
  Code m_code;
};

[[noreturn]] inline void assertFailed(const char *what, const char *file, int line) {
  std::fprintf(stderr, "xqscope: internal error: %s (%s:%d)\n", what, file, line);
  std::abort();
}

} // namespace xqs

/// An invariant of ours, always checked; never used on user input.
#define XQS_ASSERT(condition)                                                                                               \
  do {                                                                                                                      \
    if (!(condition)) ::xqs::assertFailed(#condition, __FILE__, __LINE__);                                                  \
  } while (false)
