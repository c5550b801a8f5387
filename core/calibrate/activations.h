// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model/model_reader.h"

#include <filesystem>
#include <string>
#include <vector>

namespace xqs {

/// Rows of the exact model that a tensor is made from.
enum class Source : std::uint8_t {
  X,             ///< post-norm attention input [d]
  Residual,      ///< residual stream before the attention norm [d]
  DeltaX,        ///< X_i - X_{i-1}; X itself at layer 0
  DeltaResidual, ///< the same of the residual stream
  K,             ///< before RoPE [dkv]
  KRope,         ///< after RoPE [dkv]
  V,             ///< [dkv]
};
constexpr int kSources = 7;
Index sourceWidth(Source source, const ModelShape &shape);

/// What a calibration text says of each channel of one source at one layer.
struct ChannelStats {
  std::vector<float> mean, meanAbs; ///< [width]
};
/// All layers and sources: [layer * kSources + source].
struct Activations {
  std::vector<ChannelStats> channels;
  Index tokens = 0;
  const ChannelStats &of(Source source, Index layer) const {
    return channels[static_cast<std::size_t>(layer * kSources) + static_cast<std::size_t>(source)];
  }
};

/// The n channels with the largest score, ascending; the lower channel among equals.
std::vector<Index> largestChannels(const std::vector<float> &score, Index n);

/// Kept on disk; false where the file is absent, damaged or of another shape. Written beside its place and renamed.
bool readActivations(const std::filesystem::path &file, const ModelShape &shape, Activations &out);
bool writeActivations(const std::filesystem::path &file, const Activations &activations);

} // namespace xqs
