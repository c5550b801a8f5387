// SPDX-License-Identifier: Apache-2.0
#include "shapes.h"

#include "byte_tokenizer.h"
#include "random.h"
#include "sha256.h"
#include "utf8.h"
#include "weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace xqs {
namespace {

// From the models' published configurations (config.json). d, heads, KV heads, head size; ffn, vocabulary, context.
constexpr BuiltInShape kShapes[] = {
    {"llama-2-7b", {32, 4096, 32, 32, 128}, 11008, 32000, 4096, 1e4, false},
    {"llama-3.1-8b", {32, 4096, 32, 8, 128}, 14336, 128256, 131072, 5e5, false},
    {"mistral-7b", {32, 4096, 32, 8, 128}, 14336, 32000, 32768, 1e4, false}, // v0.1; its sliding window is not modelled
    {"smollm2-135m", {30, 576, 9, 3, 64}, 1536, 49152, 8192, 1e5, true},
};

/// A prime: a row of any usual width begins elsewhere in the table than the last one.
constexpr std::size_t kTable = 1048573;
/// Part of the hash: raise it when the numbers change.
constexpr int kGenerator = 1;

Index parseSetting(std::string_view item, std::string_view key, Index least, Index most) {
  Index value = 0;
  const bool named = item.substr(0, item.find('=')) == key;
  const std::string_view number = named ? item.substr(std::min(item.size(), key.size() + 1)) : std::string_view();
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error != std::errc{} || end != number.data() + number.size() || value < least || value > most)
    throw Error(Code::Usage, fmt::format("shape: '{}' is not {}=N, N from {} to {}", printable(item), key, least, most));
  return value;
}

} // namespace

std::span<const BuiltInShape> builtInShapes() { return kShapes; }

const BuiltInShape &builtInShape(std::string_view name) {
  std::string known;
  for (const BuiltInShape &shape : kShapes) {
    if (shape.name == name) return shape;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", shape.name);
  }
  throw Error(Code::Usage, fmt::format("no shape is called '{}'; there are {}", printable(name), known));
}

ModelConfig shapeConfig(const BuiltInShape &shape, Index layers) {
  ModelConfig c;
  c.architecture = "llama";
  c.name = fmt::format("shape of {}{}", shape.name, layers > 0 ? fmt::format(", {} layers", layers) : "");
  c.shape = shape.shape;
  if (layers > 0) c.shape.layers = layers;
  c.weightTypes = fmt::format("generated ({})", (shape.tiedOutput ? 2 : 3) + 9 * c.shape.layers);
  c.ffn = shape.ffn, c.vocab = shape.vocab, c.contextLength = shape.context;
  c.ropeBase = shape.ropeBase, c.ropeFrequency = ropeFrequencies(shape.ropeBase, shape.shape.dh);
  c.tiedOutput = shape.tiedOutput;
  c.layersAlike = true;
  return c;
}

ShapeReader::ShapeReader(const std::string &location) {
  std::string_view text = std::string_view(location).substr(std::string_view("shape:").size());
  const auto next = [&] {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), item.size() + 1));
    return item;
  };
  const BuiltInShape &shape = builtInShape(next());
  Index layers = 0, seed = 1;
  while (!text.empty()) {
    const std::string_view item = next();
    if (item.starts_with("seed"))
      seed = parseSetting(item, "seed", 0, 4294967295);
    else
      layers = parseSetting(item, "layers", 1, shape.shape.layers);
  }
  m_config = shapeConfig(shape, layers);
  m_tokenizer = std::make_shared<ByteTokenizer>(static_cast<TokenId>(shape.vocab));
  const std::string all = fmt::format("xqscope shape {}: {} {} {}", kGenerator, shape.name, m_config.shape.layers, seed);
  m_hash = sha256Hex(std::as_bytes(std::span(all)));
  const std::uint64_t stream = mix(static_cast<std::uint64_t>(seed));
  m_table.resize(kTable);
  for (std::size_t i = 0; i < kTable; ++i) m_table[i] = nearNormal(mix(stream + i));
}

void ShapeReader::read(Weight weight, Index layer, std::span<float> out) const {
  XQS_ASSERT(static_cast<Index>(out.size()) == weightShape(m_config, weight).elements());
  XQS_ASSERT(isPerLayer(weight) ? layer >= 0 && layer < m_config.shape.layers : layer < 0);
  const bool vector = weightShape(m_config, weight).rows == 1;
  const float centre = vector ? 1.0f : 0.0f, scale = vector ? 0.1f : generatedDeviation(m_config, weight);
  std::size_t at = kTable / kWeightKinds * static_cast<std::size_t>(weight); // another stretch for every kind
  for (std::size_t done = 0; done < out.size(); at = 0) {
    const std::size_t count = std::min(kTable - at, out.size() - done);
    const float *from = m_table.data() + at;
    for (std::size_t i = 0; i < count; ++i) out[done + i] = centre + scale * from[i];
    done += count;
  }
}

} // namespace xqs
