// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/policy.h"
#include "model/model_reader.h"
#include "run/resources.h"

#include <functional>
#include <optional>
#include <span>
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

/// The tokens of a run: those that are scored and those that conditioning is calibrated on. Needs a model's tokenizer and
/// config, not its weights, so that what a run means can be said before anything is loaded.
class RunInputs {
public:
  /// `tokenizer` must outlive this.
  RunInputs(const ModelConfig &config, const Tokenizer &tokenizer) : m_config(config), m_tokenizer(tokenizer) {}

  /// Throw what loadText throws; setCalibration also TextTooShort.
  void setText(const std::string &location);
  void setCalibration(const CalibrationSource &source);

  const TextSource &text() const { return m_text; }
  std::span<const TokenId> tokens() const { return m_tokens; } ///< of the whole text
  const std::string &tokensHash() const { return m_tokensHash; }
  const TextSource &calibrationText() const { return m_calibrationText; }
  std::span<const TokenId> calibrationTokens() const { return m_calibrationTokens; }
  const std::string &calibrationHash() const { return m_calibrationHash; } ///< of the tokens measured
  Index calibrationWindow() const { return m_calibrationWindow; }          ///< tokens
  Index calibrationWindows() const { return m_calibrationWindows; }

  /// Windows of `window` tokens in the text; the tail is dropped.
  Index windowsOf(Index window) const { return static_cast<Index>(m_tokens.size()) / window; }
  /// Checks `window` against the model's context and [first, first + count) against the text (count 0: all that fit); gives
  /// the number of windows. Throws Usage, TextTooShort.
  Index planWindows(Index window, Index first, Index count) const;
  std::span<const TokenId> windowTokens(Index window, Index index) const;

  /// A check of policies that throws Usage where settings do not fit the model, or where a policy is calibrated on tokens
  /// that windows [first, first + count) score: its figures would be too good. The tokens are compared once, for the first
  /// policy that is calibrated. This must outlive the check and stay as it is.
  std::function<void(const PolicySpec &)> misfitCheck(Index window, Index first, Index count) const;

private:
  /// The first calibration token of a stretch that is scored too.
  std::optional<Index> overlap(Index window, Index first, Index count) const;

  ModelConfig m_config;
  const Tokenizer &m_tokenizer;
  TextSource m_text, m_calibrationText;
  std::vector<TokenId> m_tokens, m_calibrationTokens;
  std::string m_tokensHash, m_calibrationHash;
  Index m_calibrationWindow = 0, m_calibrationWindows = 0;
};

} // namespace xqs
