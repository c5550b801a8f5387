// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "calibrate/calibration.h"
#include "engine/evaluate.h"
#include "store/run_store.h"

#include <array>
#include <functional>
#include <vector>

namespace xqs {

/// Where records go: a store's queue, or nowhere.
using Emit = std::function<void(Record)>;

/// Turns one window's exact tensors, and what caches rebuild of them, into rows: distributions, similarity, errors.
/// Everything is reduced by the backend where the tensors lie. The exact K is taken after RoPE, as caches rebuild it; delta
/// is X_i - X_{i-1}, post-norm, none at layer 0. Latents are captured where they are smaller than X, 2 dkv < 2 d (else their
/// decomposition would cost more than the run).
class Captures {
public:
  /// `trace` must outlive this.
  Captures(const Model &model, const ExactTrace &trace, RowId run, Index window);

  /// Computes the exact distributions of every layer and site, for latents with decompositions: the slow part, so that a run
  /// can have its first point before it. Throws Cancelled.
  void summarizeExact(Calibration &calibration, std::stop_token stop = {});
  void emitExact(const Emit &emit) const;      ///< SummaryRow a layer and site; after summarizeExact
  void emitSimilarity(const Emit &emit) const; ///< SimilarityRow of X, residual, K (before RoPE), V

  /// What `cache` rebuilds of one layer (call it after the layer's advance): a LayerErrorRow, and where `distributions`, a
  /// SummaryRow a site that the method rebuilds, cut into the exact tensor's bins (after summarizeExact). Gives the errors.
  LayerError observe(std::int64_t policy, const char *loop, Index layer, const Cache &cache, bool distributions,
                     const Emit &emit);

private:
  ConstView exactTensor(Index layer, Site site);
  bool rebuilt(Index layer, Site site, const Cache &cache, View out) const;
  void projectLatents(Calibration &calibration, std::stop_token stop);
  Index widthOf(Site site) const;
  SummaryRow summaryRow(std::int64_t policy, Index layer, Site site, const Summary &summary, double error) const;
  Summary &summaryOf(Index layer, Site site) {
    return m_exact[static_cast<std::size_t>(layer)][static_cast<std::size_t>(site)];
  }

  const Model &m_model;
  const ExactTrace &m_trace;
  RowId m_run;
  Index m_window;
  Buffer m_latents;                                 // [layers][2][n, dkv], empty where not captured
  Buffer m_delta, m_rebuilt;                        // [n, d] each
  std::vector<std::array<Summary, kSites>> m_exact; // count == 0: not captured
};

} // namespace xqs
