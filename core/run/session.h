// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/cache.h"
#include "calibrate/calibration.h"
#include "run/backends.h"
#include "run/inputs.h"

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

namespace xqs {

struct SessionOptions {
  std::string model = "default";
  std::string text = "builtin:primer";
  std::string backend = kHostBackend; ///< or `auto`; of an open session: what that stands for
  int threads = 0;                    ///< 0: one a core
  CalibrationSource calibration;
};

/// One loaded model with its backend, one tokenized text and what was prepared for them: what a run, a preview and the
/// evaluation commands share. Not thread-safe; on the thread that runs.
class Session {
public:
  /// `fraction` 0..1 of loading; `text` says what is being done.
  using Progress = std::function<void(double fraction, const std::string &text)>;
  /// Loads everything. Throws OutOfMemory before anything is loaded where the weights do not fit, what the readers of model,
  /// text and backend throw, and Cancelled.
  Session(const SessionOptions &options, std::span<const BackendInfo> backends, const Progress &progress = {},
          std::stop_token stop = {});

  const SessionOptions &options() const { return m_options; }
  const std::string &backendNote() const { return m_backendNote; } ///< see BackendChoice
  Backend &backend() const { return *m_backend; }
  int threads() const; ///< that the backend was asked to use
  const Model &model() const { return *m_model; }
  Calibration &calibration() { return m_calibration; }
  const RunInputs &inputs() const { return m_inputs; }
  const TextSource &text() const { return m_inputs.text(); }
  std::span<const TokenId> tokens() const { return m_inputs.tokens(); } ///< of the whole text
  const std::string &tokensHash() const { return m_inputs.tokensHash(); }
  /// As of RunInputs.
  Index planWindows(Index window, Index first, Index count) const { return m_inputs.planWindows(window, first, count); }
  std::span<const TokenId> windowTokens(Index window, Index index) const { return m_inputs.windowTokens(window, index); }

  /// Replaces the text; a no-op where the location is the same.
  void setText(const std::string &location);
  /// Replaces the calibration text; measured when a policy first needs it. Throws what loadText throws, TextTooShort.
  void setCalibration(const CalibrationSource &source);

  /// A policy prepared for this model; the newest 64 are kept, so that previews and further runs start at once.
  std::shared_ptr<const Method> method(const PolicySpec &spec, std::stop_token stop = {});
  /// Lets go of all prepared policies: their matrices lie in the backend's memory.
  void dropMethods();

private:
  SessionOptions m_options;
  std::string m_backendNote;
  BackendPtr m_backend; // before everything that holds its memory
  std::unique_ptr<Model> m_model;
  RunInputs m_inputs; // before what measures its tokens
  Calibration m_calibration;
  std::map<std::string, std::shared_ptr<const Method>> m_methods; // by canonical string
  std::deque<std::string> m_methodOrder;                          // oldest first
};

} // namespace xqs
