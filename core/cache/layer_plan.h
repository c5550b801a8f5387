// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/accumulator.h"
#include "cache/conditioning.h"
#include "cache/layout.h"
#include "calibrate/activations.h"

#include <optional>
#include <vector>

namespace xqs {

/// What can be captured and compared with its reconstruction.
enum class Site : std::uint8_t { X, Residual, Delta, LatentK, LatentV, K, V };
constexpr int kSites = 7;
const char *siteName(Site site); ///< "x", "residual", "delta", "latent_k", "latent_v", "k", "v"

/// A matrix of one layer that rows are multiplied with; W as Backend::matmul takes it, [outputs, inputs].
enum class Map : std::uint8_t {
  None, ///< the row itself
  Wk,   ///< [dkv, d]
  Wv,   ///< [dkv, d]
  Uk,   ///< Uk^T [r, d]: X to the latent of K (method.md 3)
  Uv,   ///< Uv^T [r, d]
  Ukv,  ///< Ukv^T [r, d]: X or a delta to the latent of [Wk|Wv]
  SBk,  ///< Bk Sk [dkv, r]: the latent back to K, the two small matrices fused
  SBv,  ///< Bv Sv [dkv, r]
};

/// A tensor to store: rows of `source`, through `forward`, conditioned.
struct StoredTensor {
  TensorSpec spec;
  Source source = Source::X;
  Map forward = Map::None;
  Site site = Site::X; ///< what captures call it
  Conditioning conditioning;
  Index mappedWidth = 0; ///< channels after `forward`, before conditioning
};

/// K or V of a layer: a stored tensor, through `map`.
struct RebuiltSide {
  int tensor = 0;
  Map map = Map::None;
};

/// A layer of a cross-layer chain (XQuant-CL): its tensor holds X (the base) or what X changes from the layer below, and K
/// and V come from the running sum. arXiv 2508.10395 sec. 3.3, 3.4.
struct ChainLink {
  bool base = false;
  bool residualDomain = false; ///< the sum is the residual stream; the norm comes after it
  AccumulatorFormat accumulator;
  ExactFrom exact; ///< State::Stream: what of the chain is open (of its deltas; the same for every link)
  friend bool sameChain(const ChainLink &a, const ChainLink &b);
};

/// What one layer stores and how K and V come back: pure data, and all that a method is.
struct LayerPlan {
  std::vector<StoredTensor> tensors;
  RebuiltSide k, v;
  bool ropeAfter = true; ///< K is stored before RoPE and rotated when it is rebuilt
  std::optional<ChainLink> chain;
};

/// The plan of one layer. Throws Usage where the settings do not fit the model's shape.
LayerPlan layerPlan(const PolicySpec &spec, const ModelShape &shape, Index layer);

/// True where a layer stores K (after RoPE) and V in FP16, as the baseline does.
bool storesFp16Kv(const LayerPlan &plan);

/// True where some layer's conditioning is measured on a calibration text.
bool needsCalibration(const PolicySpec &spec, const ModelShape &shape);

/// Sets conditioning, stored width, outliers and sinks of a tensor whose spec.width channels come out of `forward`.
StoredTensor storedTensor(TensorSpec spec, Source source, Map forward, Site site, const Conditioning &conditioning,
                          const PolicySpec &policy);

} // namespace xqs
