// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/policy.h"

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

} // namespace xqs
