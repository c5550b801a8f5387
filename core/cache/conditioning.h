// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/policy.h"

#include <vector>

namespace xqs {

/// This project's own addition to the published methods (method.md 9): what is done to rows before they are quantized so
/// that fewer bits hold them. All of it is an affine map whose way back is folded into the matrices that give K and V, so
/// that only new tokens pay for it:
///
///   stored = G (x - centre)        G = [ E ]   E: picks the outlier channels, kept in FP16
///   x      = G^T stored + centre       [ R ]   R: the other channels; rotated: T with the outlier channels' columns set to 0
///
/// G^T G = 1 on every channel that is picked or left, so without quantization x comes back exactly.
struct Conditioning {
  enum class Rotate : std::uint8_t { None, Hadamard, Random };
  Index outlierChannels = 0;     ///< n channels that stay FP16
  bool outliersByWeights = false; ///< predicted from the weights alone, not from a calibration text
  bool leadingOutliers = false;  ///< latents: channels 0..n-1, in singular order, without calibration
  Rotate rotate = Rotate::None;
  bool center = false; ///< the calibration mean of each channel is subtracted
  Index sinkTokens = 0; ///< first tokens that stay FP16

  /// True where rows go through G. Leading outlier channels alone need no map.
  bool linear() const { return rotate != Rotate::None || (outlierChannels > 0 && !leadingOutliers); }
  bool needsCalibration() const { return center || (outlierChannels > 0 && !outliersByWeights && !leadingOutliers); }
  /// Width of a stored row made from `width` channels: outliers come on top where the others are rotated.
  Index storedWidth(Index width) const { return width + (rotate != Rotate::None ? outlierChannels : 0); }
};

/// The parameters of conditioning, in registry order, and what a policy says of them. A parameter that its method lacks is off.
std::vector<ParameterInfo> conditioningParameters();
Conditioning conditioningOf(const PolicySpec &spec);

/// An orthogonal matrix T [n, n], row-major, the same for every layer and machine. Hadamard: Sylvester's matrix of the largest
/// power of two that divides n, times (Kronecker) an orthonormal cosine transform of the odd rest, columns with random signs.
/// Random: orthonormalized normal numbers.
std::vector<float> rotation(Conditioning::Rotate kind, Index n);

/// G [storedWidth(n), n], row-major, for the given outlier channels (ascending).
std::vector<float> conditioningMap(const Conditioning &conditioning, const std::vector<Index> &outliers, Index n);

} // namespace xqs
