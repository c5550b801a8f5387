// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "calibrate/activations.h"
#include "model/model.h"

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <stop_token>

namespace xqs {

/// Thin SVD of a weight W [d, w] (w = dkv or 2 dkv): W = U S B^T with r = min(d, w). In each column of U the entry of
/// largest magnitude is positive; the matching row of B^T takes the same factor (method.md 3).
struct Svd {
  Index d = 0, width = 0, rank = 0;
  std::vector<float> u;        ///< [d, r] row-major
  std::vector<float> singular; ///< [r], descending
  std::vector<float> bt;       ///< [r, width] row-major: rows of B^T, without S

  /// The first `columns` columns of U as rows [columns, d]: the forward map as Backend::matmul takes it.
  std::vector<float> uTransposed(Index columns) const;
  /// B S [width, columns] of the first `columns` singular directions: the way back.
  std::vector<float> bTimesS(Index columns) const;
};

enum class SvdOf : std::uint8_t { Wk, Wv, WkWv };

/// What is computed once a model: decompositions in double precision by LAPACK, kept on disk by model hash. Not thread-safe.
class Calibration {
public:
  /// `folder`: where results are kept; empty = memory only. A file that does not fit is computed anew; a folder that cannot
  /// be written is reported once in `warning()` and otherwise harmless.
  Calibration(const Model &model, std::filesystem::path folder);

  /// Computed or loaded on first use. Throws Cancelled.
  const Svd &svd(SvdOf what, Index layer);
  /// Statistics of the calibration text, measured or loaded on first use. Throws Usage where no text was given, Cancelled.
  const ChannelStats &channels(Source source, Index layer);
  /// The n outlier channels of a source: the largest mean magnitude on the calibration text, or predicted from the weights
  /// alone: K and V by the first row of B^T (arXiv 2508.10395 appendix B), X and the residual stream by the norm weights and
  /// by what embedding and layers below write into each channel. Ascending.
  std::vector<Index> outlierChannels(Source source, Index layer, Index n, bool byWeights);
  /// What `channels` measures with; `key` names text and tokens, for the file that keeps the result.
  using Measure = std::function<Activations(std::stop_token)>;
  void setMeasure(std::string key, Measure measure);

  void setStop(std::stop_token stop) { m_stop = std::move(stop); }
  const std::string &warning() const { return m_warning; }

  /// $XDG_CACHE_HOME/xqscope/calibration or ~/.cache/xqscope/calibration.
  static std::filesystem::path defaultFolder();

private:
  std::filesystem::path folder() const; ///< of the model on this backend
  std::filesystem::path fileOf(SvdOf what, Index layer) const;
  const Activations &activations();
  const std::vector<std::vector<float>> &writtenMagnitudes();
  std::vector<float> weightScore(Source source, Index layer);

  const Model &m_model;
  std::filesystem::path m_folder;
  std::map<std::pair<SvdOf, Index>, Svd> m_svd;
  std::string m_measureKey;
  Measure m_measure;
  Activations m_activations; ///< tokens == 0: not measured yet
  std::vector<std::vector<float>>
      m_written; ///< [layer][d]: RMS of what the layers below write into a channel; empty: not yet
  std::stop_token m_stop;
  std::string m_warning;
};

} // namespace xqs
