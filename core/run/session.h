// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/cache.h"
#include "calibrate/calibration.h"
#include "run/backends.h"
#include "run/resources.h"

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

namespace xqs {

/// On what the channels of X, K, V are measured for conditioning (method.md 9). Never on tokens that are scored.
struct CalibrationSource {
  std::string text = "builtin:calibration"; ///< a location of `loadText`
  Index window = 512;
  Index firstWindow = 0;
  Index windows = 0; ///< 0: all that fit
  friend bool operator==(const CalibrationSource &, const CalibrationSource &) = default;
};

struct SessionOptions {
  std::string model = "default";
  std::string text = "builtin:primer";
  std::string backend = "cpu";
  int threads = 0; ///< 0: one a core
  CalibrationSource calibration;
};

/// One loaded model with its backend, one tokenized text and what was prepared for them: what a run, a preview and the
/// evaluation commands share. Not thread-safe; on the thread that runs.
class Session {
public:
  /// `fraction` 0..1 of loading; `text` says what is being done.
  using Progress = std::function<void(double fraction, const std::string &text)>;
  /// Loads everything. Throws what the readers of model, text and backend throw, and Cancelled.
  Session(const SessionOptions &options, std::span<const BackendInfo> backends, const Progress &progress = {},
          std::stop_token stop = {});

  const SessionOptions &options() const { return m_options; }
  Backend &backend() const { return *m_backend; }
  int threads() const; ///< that the backend was asked to use
  const Model &model() const { return *m_model; }
  Calibration &calibration() { return m_calibration; }
  const TextSource &text() const { return m_text; }
  std::span<const TokenId> tokens() const { return m_tokens; } ///< of the whole text
  const std::string &tokensHash() const { return m_tokensHash; }

  /// Replaces the text; a no-op where the location is the same.
  void setText(const std::string &location);

  /// Replaces the calibration text; measured when a policy first needs it. Throws what loadText throws, TextTooShort.
  void setCalibration(const CalibrationSource &source);
  const TextSource &calibrationText() const { return m_calibrationText; }
  std::span<const TokenId> calibrationTokens() const { return m_calibrationTokens; }
  const std::string &calibrationHash() const { return m_calibrationHash; } ///< of the tokens measured
  Index calibrationWindows() const { return m_calibrationWindows; }
  /// For a policy that needs calibration: throws Usage where it is calibrated on tokens that windows [first, first + count)
  /// score: their figures would be too good. One check serves all policies of a run; the text is the same.
  void refuseOverlap(const PolicySpec &policy, Index window, Index first, Index count) const;

  /// Windows of `window` tokens in the text; the tail is dropped.
  Index windowsOf(Index window) const { return static_cast<Index>(m_tokens.size()) / window; }
  /// Checks `window` against the model's context and [first, first + count) against the text (count 0: all that fit); gives
  /// the number of windows. Throws Usage, TextTooShort.
  Index planWindows(Index window, Index first, Index count) const;
  std::span<const TokenId> windowTokens(Index window, Index index) const;

  /// A policy prepared for this model; the newest 64 are kept, so that previews and further runs start at once.
  std::shared_ptr<const Method> method(const PolicySpec &spec, std::stop_token stop = {});

private:
  SessionOptions m_options;
  BackendPtr m_backend; // before everything that holds its memory
  std::unique_ptr<Model> m_model;
  Calibration m_calibration;
  TextSource m_text;
  std::vector<TokenId> m_tokens;
  std::string m_tokensHash;
  TextSource m_calibrationText;
  std::vector<TokenId> m_calibrationTokens;
  std::string m_calibrationHash;
  Index m_calibrationWindows = 0;
  std::map<std::string, std::shared_ptr<const Method>> m_methods; // by canonical string
  std::deque<std::string> m_methodOrder;                          // oldest first
};

} // namespace xqs
