// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace xqs::test {

inline std::string env(const char *name) {
  const char *value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// The SmolLM2-135M file that the golden figures belong to: $XQSCOPE_MODEL, else
/// ${XDG_CACHE_HOME:-~/.cache}/xqscope/models/SmolLM2-135M-Instruct.Q4_1.gguf. Empty where there is none.
inline std::string defaultModel() {
  if (const std::string given = env("XQSCOPE_MODEL"); !given.empty()) return given;
  const std::string cache = !env("XDG_CACHE_HOME").empty() ? env("XDG_CACHE_HOME") : env("HOME") + "/.cache";
  const std::string path = cache + "/xqscope/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  return std::filesystem::exists(path) ? path : "";
}

/// Golden figures and WikiText-2: $XQS_SHARED, else the folder known when the tests were configured. Empty where it is missing.
inline std::string sharedDir() {
  const std::string folder = !env("XQS_SHARED").empty() ? env("XQS_SHARED") : XQS_SHARED_DIR;
  return std::filesystem::is_directory(folder) ? folder : "";
}

} // namespace xqs::test

#define XQS_NEED_MODEL(path)                                                                                                \
  const std::string path = ::xqs::test::defaultModel();                                                                     \
  if (path.empty()) GTEST_SKIP() << "no SmolLM2-135M-Instruct.Q4_1.gguf: set XQSCOPE_MODEL or fetch it with run.sh"

#define XQS_NEED_SHARED(path)                                                                                               \
  const std::string path = ::xqs::test::sharedDir();                                                                        \
  if (path.empty())                                                                                                         \
  GTEST_SKIP() << "no folder " << XQS_SHARED_DIR << " with golden figures: set XQS_SHARED"
