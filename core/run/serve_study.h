// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "run/run_events.h"
#include "run/session.h"
#include "store/run_store.h"

#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <span>
#include <stop_token>

namespace xqs {

/// What the engine process lends to its study commands (serve.h). A study is given as its text, so that the window need not
/// write a file first: {"study": "{...}" or a built-in name, "name": "its name in messages", "store": "F.xqs"}; without a
/// store it is the engine's own.
struct StudyService {
  Session &session; ///< the open model; other models of a study are loaded beside it
  RunStore &store;
  std::span<const BackendInfo> backends;
  std::function<void(const nlohmann::json &)> send;
  /// Between groups of lanes: previews are answered, a pause blocks. `own`: the session that runs has the open text and
  /// calibration.
  std::function<void(bool own)> between;
};

/// Answers `estimate`: runs, points, bytes, what is missing and for how long, with the command's `tag`; or
/// `estimate-failed`. Loads no weights.
void serveEstimate(const StudyService &service, const nlohmann::json &arguments);

/// Computes what the store lacks: `run-started` for each run, `progress`, one `run-ended`. Throws what is wrong before
/// anything was computed; else gives the end that was told.
RunEvents::End serveStudy(const StudyService &service, const nlohmann::json &arguments, std::stop_token stop);

} // namespace xqs
