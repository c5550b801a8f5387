// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "capture/captures.h"
#include "run/session.h"
#include "store/run_store.h"

#include <map>
#include <memory>
#include <stop_token>
#include <string>

namespace xqs {

/// The instant answer to "what would this setting do": the open loop of a policy on the exact tensors of the text's first
/// tokens (256, state all), kept in memory. One run of kind "preview" in the store; each policy adds its ledger, its layer
/// errors and its reconstructions' distributions.
class Preview {
public:
  static constexpr Index kTokens = 256;

  /// Writes the run's row only; the exact pass waits for `warm` or the first `show`. Throws TextTooShort.
  Preview(Session &session, RunStore &store);
  ~Preview(); ///< ends the run
  Preview(const Preview &) = delete;
  Preview &operator=(const Preview &) = delete;

  RowId run() const { return m_run; }
  /// The exact pass and its distributions, once. Throws Cancelled (call it again).
  void warm(std::stop_token stop);
  bool warmed() const { return m_captures != nullptr; }

  struct Answer {
    std::int64_t policyIndex = 0;
    double milliseconds = 0;
  };
  /// Rows of a policy are committed when this returns; the same policy is answered from what is there. Throws Usage,
  /// Cancelled.
  Answer show(const PolicySpec &spec, std::stop_token stop);

private:
  Session &m_session;
  RunStore &m_store;
  Index m_tokens;
  RowId m_run = 0;
  std::unique_ptr<ExactTrace> m_trace;
  std::unique_ptr<Captures> m_captures;
  std::map<std::string, std::int64_t> m_shown; // canonical -> index
  std::int64_t m_nextIndex = 0;
};

} // namespace xqs
