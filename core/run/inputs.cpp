// SPDX-License-Identifier: Apache-2.0
#include "run/inputs.h"

#include "cache/layer_plan.h"
#include "error.h"
#include "model/sha256.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace xqs {

void RunInputs::setText(const std::string &location) {
  TextSource text = loadText(location);
  m_tokens = m_tokenizer.encode(text.bytes);
  m_tokensHash = sha256Hex(std::as_bytes(std::span(m_tokens)));
  m_text = std::move(text);
}

void RunInputs::setCalibration(const CalibrationSource &source) {
  TextSource text = loadText(source.text);
  const std::vector<TokenId> all = m_tokenizer.encode(text.bytes);
  // A short model or text is calibrated on what there is.
  const Index window = std::min({source.window, m_config.contextLength, std::max<Index>(static_cast<Index>(all.size()), 1)});
  const Index fit = static_cast<Index>(all.size()) / window, first = source.firstWindow;
  const Index count = source.windows > 0 ? source.windows : fit - first;
  if (count < 1 || first + count > fit)
    throw Error(
        Code::TextTooShort,
        fmt::format("calibration text '{}' has {} whole windows of {} tokens; windows {} to {} were asked for: give a "
                    "longer text or fewer windows",
                    text.name, fit, window, first, first + std::max<Index>(count, 1) - 1));
  m_calibrationTokens.assign(all.begin() + first * window, all.begin() + (first + count) * window);
  m_calibrationHash = sha256Hex(std::as_bytes(std::span(m_calibrationTokens)));
  m_calibrationText = std::move(text);
  m_calibrationWindow = window, m_calibrationWindows = count;
}

std::optional<Index> RunInputs::overlap(Index window, Index first, Index count) const {
  constexpr std::size_t kSame = 32; // tokens in a row that two texts do not share by chance
  const auto scored = tokens().subspan(static_cast<std::size_t>(window * first), static_cast<std::size_t>(window * count));
  const auto hashOf = [](std::span<const TokenId> t) {
    return std::hash<std::string_view>{}({reinterpret_cast<const char *>(t.data()), t.size_bytes()});
  };
  std::unordered_set<std::size_t> seen;
  for (std::size_t i = 0; i + kSame <= scored.size(); ++i) seen.insert(hashOf(scored.subspan(i, kSame)));
  for (std::size_t i = 0; i + kSame <= m_calibrationTokens.size(); ++i)
    if (seen.contains(hashOf(std::span(m_calibrationTokens).subspan(i, kSame)))) return static_cast<Index>(i);
  return std::nullopt;
}

std::function<void(const PolicySpec &)> RunInputs::misfitCheck(Index window, Index first, Index count) const {
  return [=, this, compared = false, scoredFrom = std::optional<Index>()](const PolicySpec &policy) mutable {
    cacheLayout(policy, m_config.shape);
    if (!needsCalibration(policy, m_config.shape)) return;
    if (!std::exchange(compared, true)) scoredFrom = overlap(window, first, count);
    if (scoredFrom)
      throw Error(Code::Usage,
                  fmt::format("policy '{}' would be calibrated on tokens that are scored ('{}' from token {} on); choose "
                              "another calibration text, or windows that are not scored",
                              policy.canonical(), m_calibrationText.name, *scoredFrom));
  };
}

Index RunInputs::planWindows(Index window, Index first, Index count) const {
  const Index context = m_config.contextLength;
  if (window < 2) throw Error(Code::Usage, fmt::format("a window has at least 2 tokens, not {}", window));
  if (window > context)
    throw Error(
        Code::Usage,
        fmt::format("a window of {} tokens is longer than the {} tokens that {} was trained for; choose a shorter one",
                    window, context, m_config.name));
  const Index fit = windowsOf(window);
  const Index need = first + std::max<Index>(count, 1);
  if (need > fit)
    throw Error(
        Code::TextTooShort,
        fmt::format("text '{}' has {} tokens, {} whole windows of {}; windows up to number {} need {} tokens: give a "
                    "longer text, a shorter window or fewer windows",
                    m_text.name, m_tokens.size(), fit, window, need, need * window));
  return count > 0 ? count : fit - first;
}

std::span<const TokenId> RunInputs::windowTokens(Index window, Index index) const {
  return tokens().subspan(static_cast<std::size_t>(window * index), static_cast<std::size_t>(window));
}

} // namespace xqs
