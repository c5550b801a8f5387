// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "error.h"
#include "store/records.h"

#include <nlohmann/json.hpp>

#include <functional>
#include <optional>
#include <string>

namespace xqs {

/// What the window is told of a run, whatever computes it: run-started, progress, one run-ended (serveHelp).
class RunEvents {
public:
  using Send = std::function<void(const nlohmann::json &)>;
  explicit RunEvents(Send send) : m_send(std::move(send)) {}

  void started(RowId run);
  void progress(const nlohmann::json &done, const nlohmann::json &total, double tokensPerSecond, double secondsLeft,
                const std::string &text) const;

  struct End {
    std::string status = "finished", message = {};
    std::optional<Code> code = {}; ///< of what went wrong
    bool refused = false;          ///< a MemoryRefusal
  };
  void ended(const End &end) const;
  /// Calls `compute` and tells its end; whatever it throws is one, for the window waits for it. An Error before anything was
  /// started is thrown on where `throwUnstarted`.
  /// Gives the end.
  End tell(const std::function<End()> &compute, bool throwUnstarted) const;

private:
  Send m_send;
  RowId m_run = 0; ///< 0: none yet
};

} // namespace xqs
