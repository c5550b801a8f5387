// SPDX-License-Identifier: Apache-2.0
#include "synthetic_reader.h"

#include "byte_tokenizer.h"
#include "random.h"
#include "sha256.h"
#include "utf8.h"
#include "weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

namespace xqs {
namespace {

constexpr double kMostParameters = 4e9;
constexpr int kGenerator = 1;       // part of the hash: raise it when the numbers change
constexpr Index kOutlierEvery = 48; // one outlier channel in about that many

struct Setting {
  const char *key;
  double least, most;
  double otherwise; ///< 0 for heads-dependent ones, filled in by the constructor
  bool whole;
};
constexpr Setting kSettings[] = {
    {"layers", 1, 512, 4, true},
    {"d", 2, 65536, 64, true},
    {"heads", 1, 1024, 4, true},
    {"kv_heads", 1, 1024, 0, true},
    {"head_dim", 2, 1024, 0, true},
    {"ffn", 1, 262144, 0, true},
    {"vocab", 2, 262144, 256, true},
    {"context", 2, 1048576, 4096, true},
    {"seed", 0, 4294967295.0, 1, true},
    {"residual", 0, 100, 1, false},
    {"rope", 0, 1, 1, true},
};
enum Key { Layers, D, Heads, KvHeads, HeadDim, Ffn, Vocab, Context, Seed, Residual, Rope, KeyCount };
static_assert(std::size(kSettings) == KeyCount);

[[noreturn]] void usage(const std::string &what) {
  std::string valid;
  for (const Setting &s : kSettings)
    valid += fmt::format("{}{} ({} to {})", valid.empty() ? "" : ", ", s.key, s.least, s.most);
  throw Error(Code::Usage, "synthetic model: " + what + "; valid settings: " + valid);
}

using Values = std::array<std::optional<double>, KeyCount>;

Values parse(std::string_view text) {
  Values values;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), item.size() + 1));
    const std::size_t equals = item.find('=');
    const std::string_view key = item.substr(0, equals);
    const auto *setting = std::ranges::find(kSettings, key, [](const Setting &s) { return std::string_view(s.key); });
    if (setting == std::end(kSettings)) usage("unknown setting '" + printable(key) + "'");
    std::optional<double> &value = values[static_cast<std::size_t>(setting - kSettings)];
    if (value) usage(fmt::format("'{}' is there twice", key));
    const std::string_view number = equals == item.npos ? std::string_view() : item.substr(equals + 1);
    double parsed = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), parsed);
    if (error != std::errc{} || end != number.data() + number.size() ||
        !(parsed >= setting->least && parsed <= setting->most) || (setting->whole && parsed != std::floor(parsed)))
      usage(fmt::format("'{}' cannot be '{}'", key, printable(number)));
    value = parsed;
  }
  return values;
}

} // namespace

SyntheticReader::SyntheticReader(const std::string &location) {
  const Values given =
      parse(std::string_view(location).substr(std::min(location.size(), std::string_view("synthetic:").size())));
  const auto get = [&](Key key) { return given[key].value_or(kSettings[key].otherwise); };
  const auto whole = [&](Key key) { return static_cast<Index>(get(key)); };
  ModelConfig &c = m_config;
  ModelShape &s = c.shape;
  s.layers = whole(Layers);
  s.d = whole(D);
  s.heads = whole(Heads);
  s.kvHeads = given[KvHeads] ? whole(KvHeads) : s.heads % 2 == 0 ? s.heads / 2 : s.heads;
  s.dh = given[HeadDim] ? whole(HeadDim) : s.d / s.heads;
  c.ffn = given[Ffn] ? whole(Ffn) : 2 * s.d;
  c.vocab = whole(Vocab);
  c.contextLength = whole(Context);
  c.residualStrength = static_cast<float>(get(Residual));
  m_seed = static_cast<std::uint64_t>(get(Seed));
  if (s.heads % s.kvHeads != 0) usage(fmt::format("heads={} is not a multiple of kv_heads={}", s.heads, s.kvHeads));
  if (!given[HeadDim] && s.d % s.heads != 0)
    usage(fmt::format("d={} is not a multiple of heads={}; give head_dim", s.d, s.heads));
  if (s.dh < 2 || s.dh % 2 != 0) usage(fmt::format("head_dim={} is not even", s.dh));

  double parameters = 0;
  for (std::size_t i = 0; i < kWeightKinds; ++i) {
    const auto weight = static_cast<Weight>(i);
    const WeightShape shape = weightShape(c, weight);
    parameters += static_cast<double>(shape.rows) * static_cast<double>(shape.cols) *
                  static_cast<double>(isPerLayer(weight) ? s.layers : 1);
  }
  if (parameters > kMostParameters)
    usage(fmt::format("{:.3g} parameters are more than {:.3g}", parameters, kMostParameters));

  c.architecture = "llama";
  c.name = fmt::format("synthetic: {} layers, d {}, {} heads, {} key/value heads, seed {}", s.layers, s.d, s.heads,
                       s.kvHeads, m_seed);
  c.weightTypes = fmt::format("generated ({})", 3 + 9 * s.layers);
  if (whole(Rope) != 0) c.ropeFrequency = ropeFrequencies(c.ropeBase, s.dh);
  m_tokenizer = std::make_shared<ByteTokenizer>(static_cast<TokenId>(c.vocab));
  const std::string text = fmt::format("xqscope synthetic {}: {} {} {} {} {} {} {} {} {} {}{}", kGenerator, s.layers, s.d,
                                       s.heads, s.kvHeads, s.dh, c.ffn, c.vocab, c.contextLength, m_seed, c.residualStrength,
                                       whole(Rope) != 0 ? "" : " without RoPE");
  m_hash = sha256Hex(std::as_bytes(std::span(text)));
}

void SyntheticReader::read(Weight weight, Index layer, std::span<float> out) const {
  const WeightShape shape = weightShape(m_config, weight);
  XQS_ASSERT(static_cast<Index>(out.size()) == shape.elements());
  XQS_ASSERT(isPerLayer(weight) ? layer >= 0 && layer < m_config.shape.layers : layer < 0);
  const std::uint64_t stream =
      mix(mix(m_seed) ^ (static_cast<std::uint64_t>(weight) << 32 | static_cast<std::uint32_t>(layer + 1)));
  const auto normal = [&](std::size_t i) { return nearNormal(mix(stream + i)); };
  if (shape.rows > 1) {
    const float scale = generatedDeviation(m_config, weight);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = scale * normal(i);
    return;
  }
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = 1.0f + 0.1f * normal(i);
  if (weight != Weight::AttentionNorm) return;
  // The same channels in every layer, as in trained models; their sizes differ from layer to layer.
  const std::uint64_t choice = mix(m_seed ^ 0x6f75746c69657273u);
  const Index outliers = std::max<Index>(1, m_config.shape.d / kOutlierEvery);
  for (Index i = 0; i < outliers; ++i) {
    const auto at = mix(choice + static_cast<std::uint64_t>(i));
    const std::size_t channel = at % static_cast<std::uint64_t>(m_config.shape.d);
    out[channel] = 6.0f + 6.0f * static_cast<float>(mix(stream ^ at) >> 40) * 0x1p-24f;
  }
}

} // namespace xqs
