// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model_reader.h"

namespace xqs {

constexpr std::size_t kWeightKinds = static_cast<std::size_t>(Weight::WDown) + 1;
constexpr bool isPerLayer(Weight weight) { return weight >= Weight::AttentionNorm; }

struct WeightShape {
  Index rows = 0; ///< outputs
  Index cols = 0; ///< inputs
  Index elements() const { return rows * cols; }
};

/// The shape that the configuration demands, as listed at `Weight`.
WeightShape weightShape(const ModelConfig &config, Weight weight);

/// Bytes of the weights of one layer, and of the whole model: matrices as `type`, vectors as FP32.
Index layerWeightBytes(const ModelConfig &config, DType type);
Index weightBytes(const ModelConfig &config, DType type);

/// Deviation of a generated matrix's elements: activations stay near 1, logits have a deviation of about 2.5.
float generatedDeviation(const ModelConfig &config, Weight weight);

/// base^(-2j / dh), j in [0, dh / 2): the angular frequencies of RoPE without scaling (arXiv 2104.09864, sec. 3.2.2).
std::vector<double> ropeFrequencies(double base, Index dh);

} // namespace xqs
