// SPDX-License-Identifier: Apache-2.0
#include "engine/sampler.h"

#include "error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace xqs {
namespace {

constexpr std::size_t kFirstSorted =
    256; // candidates of top-p that are sorted at first; four times as many when they run out

// exp(x) for x <= 0 from IEEE additions and products alone, which are equal everywhere; those of the C libraries differ in
// the last bit. x = k ln 2 + r with |r| <= ln 2 / 2, ln 2 in two parts so that k times the first is exact; the Taylor
// polynomial's error is below r^14 / 14! = 4e-18. Below -700 it is 0.
double expNegative(double x) {
  if (!(x >= -700)) return 0;
  const double k = std::floor(x * 0x1.71547652b82fep+0 + 0.5);
  const double r = (x - k * 0x1.62e42feep-1) - k * 0x1.a39ef35793c76p-33;
  double sum = 1;
  for (int i = 13; i > 0; --i) sum = 1 + sum * r / i;
  return std::ldexp(sum, static_cast<int>(k));
}

[[noreturn]] void refuse(const char *setting, const std::string &value, const char *range) {
  throw Error(Code::Usage, fmt::format("sampling: {} cannot be {}; it is {}", setting, value, range));
}

} // namespace

void SamplerSettings::validate() const {
  if (!(temperature >= 0 && std::isfinite(temperature)))
    refuse("temperature", fmt::format("{}", temperature), "0 (greedy) or a number above it");
  if (topK < 0) refuse("top-k", fmt::format("{}", topK), "0 (off) or a number of tokens");
  if (!(topP > 0 && topP <= 1)) refuse("top-p", fmt::format("{}", topP), "above 0 and at most 1 (off)");
}

Sampler::Sampler(const SamplerSettings &settings) : m_settings(settings), m_random(settings.seed) { settings.validate(); }

TokenId Sampler::next(std::span<const float> logits) {
  XQS_ASSERT(!logits.empty());
  for (std::size_t i = 0; i < logits.size(); ++i)
    if (!std::isfinite(logits[i]))
      throw Error(
          Code::Unsupported,
          fmt::format("the logit of token {} is {}: the computation overflowed, no token can be chosen; use a policy "
                      "with more bits or another model",
                      i, logits[i]));
  const auto best = static_cast<std::size_t>(std::ranges::max_element(logits) - logits.begin()); // the first of equals
  if (m_settings.temperature == 0) return static_cast<TokenId>(best);

  m_ids.resize(logits.size());
  std::iota(m_ids.begin(), m_ids.end(), 0);
  m_weights.resize(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i)
    m_weights[i] =
        expNegative((static_cast<double>(logits[i]) - static_cast<double>(logits[best])) / m_settings.temperature);
  const std::size_t kept = filter(logits);

  double total = 0;
  for (std::size_t i = 0; i < kept; ++i) total += weight(i);
  const double target = m_random.unit() * total;
  TokenId chosen = m_ids[0];
  double sum = 0;
  for (std::size_t i = 0; i < kept && sum <= target; ++i) {
    if (weight(i) == 0) continue; // never drawn, even where the product was rounded up to the total
    chosen = m_ids[i];
    sum += weight(i);
  }
  return chosen;
}

/// Brings the candidates that both filters leave to the front of m_ids, most probable first; without filters all stay in the
/// order of their ids. Gives their number.
std::size_t Sampler::filter(std::span<const float> logits) {
  const std::size_t n = m_ids.size();
  if (m_settings.topK == 0 && m_settings.topP == 1) return n;
  std::size_t sorted = 0;
  const auto sortTo = [&](std::size_t count) {
    const auto at = [&](std::size_t i) { return m_ids.begin() + static_cast<std::ptrdiff_t>(i); };
    std::partial_sort(at(sorted), at(count), m_ids.end(), [&](TokenId a, TokenId b) {
      const float la = logits[static_cast<std::size_t>(a)], lb = logits[static_cast<std::size_t>(b)];
      return la != lb ? la > lb : a < b;
    });
    sorted = count;
  };
  const std::size_t limit = m_settings.topK > 0 ? std::min(n, static_cast<std::size_t>(m_settings.topK)) : n;
  if (m_settings.topK > 0) sortTo(limit);
  if (m_settings.topP == 1) return limit;

  double total = 0;
  for (std::size_t i = 0; i < limit; ++i) total += weight(i);
  const double wanted = m_settings.topP * total;
  double sum = 0;
  std::size_t kept = 0;
  while (kept < limit && (kept == 0 || sum < wanted)) {
    if (kept == sorted) sortTo(std::min(n, std::max(kFirstSorted, 4 * sorted)));
    sum += weight(kept++);
  }
  return kept;
}

} // namespace xqs
