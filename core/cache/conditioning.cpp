// SPDX-License-Identifier: Apache-2.0
#include "cache/conditioning.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace xqs {
namespace {

constexpr std::uint64_t kSeed = 0x58515363; // fixed: a cache written today is read tomorrow

/// splitmix64 (Steele, Lea, Flood 2014).
class Random {
public:
  explicit Random(std::uint64_t seed) : m_state(seed) {}
  std::uint64_t next() {
    std::uint64_t z = m_state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  double uniform() { return (static_cast<double>(next() >> 11) + 0.5) * 0x1p-53; } ///< (0, 1)
  double normal() { return std::sqrt(-2 * std::log(uniform())) * std::cos(2 * std::numbers::pi * uniform()); }

private:
  std::uint64_t m_state;
};

/// Sign of Sylvester's Hadamard matrix at (row, column).
int sylvester(Index row, Index column) {
  return __builtin_parityll(static_cast<std::uint64_t>(row & column)) != 0 ? -1 : 1;
}

/// Orthonormal cosine transform (type II) of m points at (row, column).
double cosine(Index m, Index row, Index column) {
  const double scale = std::sqrt((row == 0 ? 1.0 : 2.0) / static_cast<double>(m));
  return scale * std::cos(std::numbers::pi * (static_cast<double>(column) + 0.5) * static_cast<double>(row) /
                          static_cast<double>(m));
}

std::vector<float> hadamard(Index n) {
  const Index block = n & -n, rest = n / block;
  const double scale = 1 / std::sqrt(static_cast<double>(block));
  Random random(kSeed);
  std::vector<double> sign(static_cast<std::size_t>(n));
  for (double &s : sign) s = (random.next() & 1) != 0 ? scale : -scale;
  std::vector<float> t(static_cast<std::size_t>(n * n));
  for (Index r = 0; r < n; ++r)
    for (Index c = 0; c < n; ++c)
      t[static_cast<std::size_t>(r * n + c)] =
          static_cast<float>(sylvester(r % block, c % block) * cosine(rest, r / block, c / block) *
                             sign[static_cast<std::size_t>(c)]);
  return t;
}

/// Gram-Schmidt on rows of normal numbers, twice: the second pass takes out what rounding left.
std::vector<float> randomOrthogonal(Index n) {
  Random random(kSeed + 1);
  const auto width = static_cast<std::size_t>(n);
  std::vector<double> m(width * width);
  for (double &x : m) x = random.normal();
  for (std::size_t r = 0; r < width; ++r) {
    double *row = m.data() + r * width;
    for (int pass = 0; pass < 2; ++pass)
      for (std::size_t p = 0; p < r; ++p) {
        const double *other = m.data() + p * width;
        double dot = 0;
        for (std::size_t c = 0; c < width; ++c) dot += row[c] * other[c];
        for (std::size_t c = 0; c < width; ++c) row[c] -= dot * other[c];
      }
    double squares = 0;
    for (std::size_t c = 0; c < width; ++c) squares += row[c] * row[c];
    const double scale = 1 / std::sqrt(squares);
    for (std::size_t c = 0; c < width; ++c) row[c] *= scale;
  }
  return {m.begin(), m.end()};
}

} // namespace

std::vector<ParameterInfo> conditioningParameters() {
  const auto integer = [](const char *name, std::int64_t max, const char *meaning) {
    ParameterInfo p;
    p.name = name, p.max = max, p.defaultValue = "0", p.meaning = meaning;
    return p;
  };
  const auto choice = [](const char *name, std::vector<std::string> choices, const char *meaning) {
    ParameterInfo p;
    p.name = name, p.type = ParameterInfo::Type::Choice;
    p.defaultValue = choices.front(), p.choices = std::move(choices), p.meaning = meaning;
    return p;
  };
  return {integer("outlier_channels", 4096,
                  "Channels that stay FP16, in all layers: those with the largest mean magnitude; of latents the first of X Uk "
                  "(or X Ukv) in singular order."),
          choice("outlier_source", {"calibration", "weights"},
                 "Outlier channels are measured on the calibration text, or predicted from the weights alone."),
          choice("rotate", {"none", "hadamard", "random"},
                 "An orthogonal matrix spreads every channel over the row before it is quantized; undone in the weights."),
          choice("center", {"off", "on"}, "The calibration mean of each channel is subtracted before and added back after."),
          integer("sink_tokens", 4096, "First tokens of a sequence that stay FP16: the first one is often far from all others.")};
}

Conditioning conditioningOf(const PolicySpec &spec) {
  Conditioning c;
  if (spec.has("outlier_channels")) c.outlierChannels = spec.integer("outlier_channels");
  if (spec.has("outlier_source")) c.outliersByWeights = spec.choice("outlier_source") == "weights";
  if (spec.has("rotate"))
    c.rotate = spec.choice("rotate") == "hadamard" ? Conditioning::Rotate::Hadamard
               : spec.choice("rotate") == "random" ? Conditioning::Rotate::Random
                                                   : Conditioning::Rotate::None;
  if (spec.has("center")) c.center = spec.choice("center") == "on";
  if (spec.has("sink_tokens")) c.sinkTokens = spec.integer("sink_tokens");
  return c;
}

std::vector<float> rotation(Conditioning::Rotate kind, Index n) {
  return kind == Conditioning::Rotate::Hadamard ? hadamard(n) : randomOrthogonal(n);
}

std::vector<float> conditioningMap(const Conditioning &conditioning, const std::vector<Index> &outliers, Index n) {
  std::vector<float> map;
  map.reserve(static_cast<std::size_t>(conditioning.storedWidth(n) * n));
  const auto isOutlier = [&](Index channel) { return std::binary_search(outliers.begin(), outliers.end(), channel); };
  const auto unitRow = [&](Index channel) {
    map.insert(map.end(), static_cast<std::size_t>(n), 0.0f);
    map[map.size() - static_cast<std::size_t>(n - channel)] = 1;
  };
  for (const Index channel : outliers) unitRow(channel);
  if (conditioning.rotate == Conditioning::Rotate::None) {
    for (Index channel = 0; channel < n; ++channel)
      if (!isOutlier(channel)) unitRow(channel);
    return map;
  }
  std::vector<float> t = rotation(conditioning.rotate, n);
  for (const Index channel : outliers)
    for (Index r = 0; r < n; ++r) t[static_cast<std::size_t>(r * n + channel)] = 0;
  map.insert(map.end(), t.begin(), t.end());
  return map;
}

} // namespace xqs
