// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "statistics.h"

#include <array>
#include <cstdint>
#include <span>
#include <vector>

/// Figures over single positions: what `llama-perplexity --kl-divergence` prints (ggml-org/llama.cpp tools/perplexity), so
/// that both programs can be held side by side. Its errors take positions as independent and are too small for text
/// (baselines.md 14): intervals of ours are over windows.
namespace xqs {

/// One policy's scores, pooled over windows: parallel arrays, one entry a scored position. Nats.
struct TokenScores {
  std::span<const float> exactNll, nll;  ///< -ln p(next token) under the exact model and under the policy
  std::span<const float> kl;             ///< KL(exact || policy)
  std::span<const std::uint8_t> sameTop; ///< 1 where the two most likely tokens are the same
};

/// A figure and its standard error, in the same unit.
struct WithError {
  double value = 0, error = 0;
};

/// Extremes and percentiles, interpolated linearly between the two nearest values.
struct Distribution {
  static constexpr std::array<double, 11> kPercents = {99.9, 99, 95, 90, 75, 50, 25, 10, 5, 1, 0.1};
  double min = 0, max = 0;
  std::array<double, kPercents.size()> percentiles{}; ///< in the order of kPercents
};

/// All NaN where `enough` is false; a score that is NaN makes the figures that need it NaN.
struct TokenStatistics {
  static constexpr std::int64_t kLeast = 100; ///< positions below which llama-perplexity gives no statistics either
  std::int64_t count = 0;
  bool enough = false; ///< count >= kLeast

  WithError ppl, exactPpl;               ///< "PPL(Q)", "PPL(base)"
  double correlation = 0;                ///< of ln PPL(Q) and ln PPL(base): of the NLL of positions; NaN if one is constant
  WithError logRatio, ratio, difference; ///< ln(Q / base), Q / base, Q - base; errors with the covariance
  WithError kl;                          ///< mean, nats
  Distribution klDistribution;           ///< nats
  WithError deltaPercent, deltaRmsPercent; ///< of 100 (p(next token) - exact p): mean, root mean square
  Distribution deltaDistributionPercent;
  WithError sameTopPercent; ///< binomial error
};

/// Throws Usage where the arrays differ in length.
TokenStatistics tokenStatistics(const TokenScores &scores);

/// KL of a part of all windows.
struct PositionBin {
  std::int64_t begin = 0, end = 0; ///< scored positions [begin, end) of a window
  Estimate kl;                     ///< nats: over windows, of each window's mean in the bin
};

/// Mean KL against position, in `bins` equal parts (fewer where a window has fewer positions; lengths differ by one at
/// most). `windows`: the KL of each window's scored positions, nats. Throws Usage where windows differ in length.
std::vector<PositionBin> klByPosition(std::span<const std::span<const float>> windows, std::int64_t bins);

} // namespace xqs
