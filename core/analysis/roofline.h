// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "analysis/verdict.h"

namespace xqs {

/// What of a step a point on the roofline stands for.
enum class RooflineScope : std::uint8_t {
  Attention, ///< everything that a step does with caches: reading, rebuilding, attention
  Step       ///< the whole step, weights and logits included
};

/// One policy on the roofline. FLOPs are counted.
struct RooflinePoint {
  std::string policy; ///< canonical
  std::int64_t context = 0, batch = 0;
  double flops = 0, bytes = 0, seconds = 0;
  Basis basis = Basis::Predicted;                    ///< of the seconds
  Basis bytesBasis = Basis::Counted;                 ///< Measured: by hardware counters
  double intensity() const { return flops / bytes; } ///< FLOP a byte
  double rate() const { return flops / seconds; }    ///< FLOP/s
};

/// Of every policy.
std::vector<RooflinePoint> predictedPoints(const Judge &judge, RooflineScope scope, std::int64_t context,
                                           std::int64_t batch);
/// Of a profile run: its steps, or the ranges of its layers that read, rebuild and attend to caches.
std::vector<RooflinePoint> measuredPoints(const RunRows &run, RooflineScope scope);

} // namespace xqs
