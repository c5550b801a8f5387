// SPDX-License-Identifier: Apache-2.0
#include "weights.h"

#include <cmath>

namespace xqs {
namespace {

/// Bytes of the weights that are in every layer, or of the others, each once.
Index bytesOf(const ModelConfig &config, DType type, bool perLayer) {
  Index sum = 0;
  for (std::size_t i = 0; i < kWeightKinds; ++i) {
    const auto weight = static_cast<Weight>(i);
    if (isPerLayer(weight) != perLayer || (weight == Weight::Output && config.tiedOutput)) continue;
    const WeightShape shape = weightShape(config, weight);
    sum += shape.elements() * sizeOf(shape.rows > 1 ? type : DType::F32);
  }
  return sum;
}

} // namespace

WeightShape weightShape(const ModelConfig &c, Weight weight) {
  const Index d = c.shape.d, q = c.shape.heads * c.shape.dh, kv = c.shape.dkv();
  switch (weight) {
  case Weight::TokenEmbedding:
  case Weight::Output: return {c.vocab, d};
  case Weight::OutputNorm:
  case Weight::AttentionNorm:
  case Weight::FfnNorm: return {1, d};
  case Weight::Wq: return {q, d};
  case Weight::Wk:
  case Weight::Wv: return {kv, d};
  case Weight::Wo: return {d, q};
  case Weight::WGate:
  case Weight::WUp: return {c.ffn, d};
  case Weight::WDown: return {d, c.ffn};
  }
  XQS_ASSERT(!"a weight without a shape");
  return {};
}

Index layerWeightBytes(const ModelConfig &config, DType type) { return bytesOf(config, type, true); }
Index weightBytes(const ModelConfig &config, DType type) {
  return config.shape.layers * layerWeightBytes(config, type) + bytesOf(config, type, false);
}

float generatedDeviation(const ModelConfig &c, Weight weight) {
  const double inputs = static_cast<double>(weightShape(c, weight).cols); // 1 / sqrt(inputs) keeps a deviation of 1
  const double layers = static_cast<double>(c.shape.layers);
  switch (weight) {
  case Weight::TokenEmbedding: return 1.0f;
  case Weight::Output:
    return static_cast<float>(2.0 / std::sqrt(inputs)); // the outliers in the norm raise it to about 2.5
  // What a block adds to the residual stream shrinks with depth, so that the stream grows by a small factor only.
  case Weight::Wo:
  case Weight::WDown: return static_cast<float>(1.0 / std::sqrt(inputs * layers));
  default: return static_cast<float>(1.0 / std::sqrt(inputs));
  }
}

std::vector<double> ropeFrequencies(double base, Index dh) {
  std::vector<double> frequency(static_cast<std::size_t>(dh / 2));
  for (std::size_t j = 0; j < frequency.size(); ++j)
    frequency[j] = std::pow(base, -2.0 * static_cast<double>(j) / static_cast<double>(dh));
  return frequency;
}

} // namespace xqs
