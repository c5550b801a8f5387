// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/layer_plan.h"

namespace xqs {

/// What a policy costs in work: multiply-adds of matrices, all layers, from shapes alone (arXiv 2508.10395 sec. 3.4 counts
/// rebuilding as FLOPs, twice as many; this project's maps of conditioning are in both).
struct CacheWork {
  /// A new token, once: the projections whose rows are stored (K and V themselves, latents) and the maps of conditioning.
  /// FP16 KV: 2 d dkv a layer.
  Index storeMacs = 0;
  /// A cached token, each time its K and V are rebuilt: in every step of decoding, unless attention absorbs the map.
  Index rebuildMacs = 0;
};

/// Throws Usage where the settings do not fit.
CacheWork cacheWork(const PolicySpec &spec, const ModelShape &shape);

/// Multiply-adds that give K and V of one cached token of a layer back. A side that is stored as it is takes none; one that
/// is an image of stored rows of w channels takes w dkv.
struct RebuildWork {
  Index delta = 0; ///< of a chain: the stored row back to X's channels
  Index k = 0, v = 0;
  Index macs() const { return delta + k + v; }
};
RebuildWork rebuildWork(const LayerPlan &plan, const ModelShape &shape);

/// Bytes of the maps that a layer, or a policy in all layers, keeps besides the model's weights (latents, conditioning),
/// FP32.
Index mapBytes(const LayerPlan &plan, const ModelShape &shape);
Index mapBytes(const PolicySpec &spec, const ModelShape &shape);

} // namespace xqs
