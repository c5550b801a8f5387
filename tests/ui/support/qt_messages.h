// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QString>

/// The main() of Qt tests lives in test_main.cpp: it forces the offscreen platform and turns every Qt warning, those of
/// QAbstractItemModelTester too, into a failure of the running test.
namespace xqs::test {

/// While it lives, messages that contain `part` are expected and no failure.
class ExpectMessage {
public:
  explicit ExpectMessage(const QString &part);
  ~ExpectMessage();
  ExpectMessage(const ExpectMessage &) = delete;
  ExpectMessage &operator=(const ExpectMessage &) = delete;
};

} // namespace xqs::test
