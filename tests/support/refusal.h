// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "error.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace xqs::test {

/// The message of the Usage error that a call throws.
inline std::string usageMessageOf(const std::function<void()> &call) {
  try {
    call();
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), Code::Usage);
    return error.what();
  }
  return "nothing thrown";
}

} // namespace xqs::test
