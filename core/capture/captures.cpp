// SPDX-License-Identifier: Apache-2.0
#include "capture/captures.h"

#include "model/matrices.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace xqs {

static_assert(std::endian::native == std::endian::little, "blobs are little-endian; swap here on other machines");

namespace {

constexpr Site kAllSites[] = {Site::X, Site::Residual, Site::Delta, Site::LatentK, Site::LatentV, Site::K, Site::V};
static_assert(std::size(kAllSites) == kSites);

template <class T> void appendBytes(Blob &blob, T value) {
  const auto *bytes = reinterpret_cast<const std::uint8_t *>(&value);
  blob.insert(blob.end(), bytes, bytes + sizeof value);
}

double relativeError(const ErrorSums &sums) {
  if (sums.exactSquares == 0) return sums.errorSquares == 0 ? 0 : std::numeric_limits<double>::infinity();
  return std::sqrt(sums.errorSquares / sums.exactSquares);
}

/// U^T [r, d] of a decomposition, on the backend: the weight whose matmul gives X U.
Matrix uploadTransposedU(Backend &backend, const Svd &svd) {
  return uploadMatrix(backend, svd.uTransposed(svd.rank), svd.rank, svd.d);
}

Blob histogramBlob(const Summary &summary) {
  Blob blob;
  blob.reserve(sizeof summary.histogram);
  for (const std::uint32_t count : summary.histogram) appendBytes(blob, count);
  return blob;
}

Blob topChannelsBlob(const Summary &summary) {
  Blob blob;
  for (int i = 0; i < Summary::kTopChannels; ++i) {
    if (summary.topChannel[static_cast<std::size_t>(i)] < 0) break;
    appendBytes(blob, summary.topChannel[static_cast<std::size_t>(i)]);
    appendBytes(blob, summary.topMeanAbs[static_cast<std::size_t>(i)]);
  }
  return blob;
}

} // namespace

Captures::Captures(const Model &model, const ExactTrace &trace, RowId run, Index window)
    : m_model(model), m_trace(trace), m_run(run), m_window(window), m_exact(static_cast<std::size_t>(model.shape().layers)) {
  const Index bytes = trace.tokens() * model.shape().d * sizeOf(DType::F32);
  m_delta = model.backend().allocate(bytes, Purpose::Scratch);
  m_rebuilt = model.backend().allocate(bytes, Purpose::Scratch);
}

void Captures::summarizeExact(Calibration &calibration, std::stop_token stop) {
  const ModelShape &shape = m_model.shape();
  Backend &backend = m_model.backend();
  if (shape.dkv() < shape.d && !m_latents) projectLatents(calibration, stop);
  const ResultsGuard results(backend);
  for (Index layer = 0; layer < shape.layers; ++layer) {
    if (stop.stop_requested()) throw Error(Code::Cancelled, "stopped while capturing the exact model's tensors");
    for (const Site site : kAllSites)
      if (const ConstView exact = exactTensor(layer, site); !exact.empty())
        backend.summarize(Queue::Compute, exact, summaryOf(layer, site) = {});
  }
  backend.sync(Queue::Compute);
}

void Captures::projectLatents(Calibration &calibration, std::stop_token stop) {
  const ModelShape &shape = m_model.shape();
  Backend &backend = m_model.backend();
  calibration.setStop(stop);
  Buffer latents =
      backend.allocate(shape.layers * 2 * m_trace.tokens() * shape.dkv() * sizeOf(DType::F32), Purpose::Scratch);
  const View all = latents.f32(shape.layers * 2 * m_trace.tokens(), shape.dkv());
  for (Index layer = 0; layer < shape.layers; ++layer)
    for (const Index side : {0, 1}) {
      const Svd &svd = calibration.svd(side == 0 ? SvdOf::Wk : SvdOf::Wv, layer);
      const Matrix ut = uploadTransposedU(backend, svd);
      backend.matmul(Queue::Compute, m_trace.normed(layer), ut.view,
                     all.rowRange((layer * 2 + side) * m_trace.tokens(), m_trace.tokens()));
      backend.sync(Queue::Compute);
    }
  calibration.setStop({});
  m_latents = std::move(latents);
}

Index Captures::widthOf(Site site) const {
  return site == Site::X || site == Site::Residual || site == Site::Delta ? m_model.shape().d : m_model.shape().dkv();
}

ConstView Captures::exactTensor(Index layer, Site site) {
  const ModelShape &shape = m_model.shape();
  const Index n = m_trace.tokens();
  switch (site) {
  case Site::X: return m_trace.normed(layer);
  case Site::Residual: return m_trace.residual(layer);
  case Site::K: return m_trace.kRope(layer);
  case Site::V: return m_trace.v(layer);
  case Site::Delta: {
    if (layer == 0) return {};
    const View delta = m_delta.f32(n, shape.d);
    m_model.backend().subtract(Queue::Compute, m_trace.normed(layer), m_trace.normed(layer - 1), delta);
    return delta;
  }
  case Site::LatentK:
  case Site::LatentV: {
    if (!m_latents) return {};
    const Index slot = layer * 2 + (site == Site::LatentV ? 1 : 0);
    return m_latents.f32(shape.layers * 2 * n, shape.dkv()).rowRange(slot * n, n);
  }
  }
  return {};
}

bool Captures::rebuilt(Index layer, Site site, const Cache &cache, View out) const {
  const TokenRange all{0, m_trace.tokens()};
  if (site == Site::K || site == Site::V) {
    cache.rebuild(layer, site == Site::K ? Side::K : Side::V, Version::Stored, all, out);
    return true;
  }
  return cache.reconstruct(layer, site, all, out);
}

void Captures::emitExact(const Emit &emit) const {
  for (std::size_t layer = 0; layer < m_exact.size(); ++layer)
    for (const Site site : kAllSites)
      if (const Summary &summary = m_exact[layer][static_cast<std::size_t>(site)]; summary.count > 0)
        emit(summaryRow(-1, static_cast<Index>(layer), site, summary, 0));
}

SummaryRow Captures::summaryRow(std::int64_t policy, Index layer, Site site, const Summary &summary, double error) const {
  SummaryRow row;
  row.run = m_run, row.policy = policy, row.window = m_window, row.layer = layer;
  row.site = siteName(site);
  row.count = summary.count, row.mean = summary.mean, row.variance = summary.variance;
  row.min = summary.min, row.max = summary.max;
  row.histogramMin = summary.histogramMin, row.histogramMax = summary.histogramMax;
  row.histogram = histogramBlob(summary), row.topChannels = topChannelsBlob(summary);
  row.relativeError = error;
  return row;
}

void Captures::emitSimilarity(const Emit &emit) const {
  for (const Site site : {Site::X, Site::Residual, Site::K, Site::V}) {
    SimilarityRow row;
    row.run = m_run, row.window = m_window, row.site = siteName(site), row.layers = m_model.shape().layers;
    const std::vector<float> cosine = layerSimilarity(m_trace, m_model, site);
    row.cosine.resize(cosine.size() * sizeof(float));
    std::memcpy(row.cosine.data(), cosine.data(), row.cosine.size());
    emit(row);
  }
}

LayerError Captures::observe(std::int64_t policy, const char *loop, Index layer, const Cache &cache, bool distributions,
                             const Emit &emit) {
  Backend &backend = m_model.backend();
  LayerError error{.k = 0, .v = 0, .x = std::numeric_limits<double>::quiet_NaN()};
  for (const Site site : kAllSites) {
    const Summary &exactSummary = summaryOf(layer, site);
    if (distributions ? exactSummary.count == 0 : site != Site::K && site != Site::V && site != Site::X) continue;
    const View out = m_rebuilt.f32(m_trace.tokens(), widthOf(site));
    if (!rebuilt(layer, site, cache, out)) continue;
    ErrorSums sums;
    Summary summary;
    const ResultsGuard results(backend);
    summary.histogramMin = exactSummary.histogramMin, summary.histogramMax = exactSummary.histogramMax;
    backend.compare(Queue::Compute, exactTensor(layer, site), out, sums);
    if (distributions) backend.summarize(Queue::Compute, out, summary);
    backend.sync(Queue::Compute);
    const double relative = relativeError(sums);
    if (site == Site::K) error.k = relative;
    if (site == Site::V) error.v = relative;
    if (site == Site::X) error.x = relative;
    if (distributions) emit(summaryRow(policy, layer, site, summary, relative));
  }
  LayerErrorRow row;
  row.run = m_run, row.policy = policy, row.window = m_window, row.layer = layer, row.loop = loop;
  row.k = error.k, row.v = error.v, row.x = error.x;
  emit(row);
  return error;
}

} // namespace xqs
