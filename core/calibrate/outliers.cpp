// SPDX-License-Identifier: Apache-2.0
// Which channels are outliers: measured on a text, or predicted from the weights alone.
#include "calibrate/calibration.h"
#include "model/matrices.h"

#include <fmt/format.h>

#include <cmath>

namespace xqs {
namespace {

/// squares[c] += sum over row c of W^2: what a layer writes into channel c. W: [d, inputs].
void addRowSquares(const std::vector<float> &w, Index inputs, std::vector<double> &squares) {
  for (std::size_t c = 0; c < squares.size(); ++c)
    for (Index i = 0; i < inputs; ++i) {
      const double x = w[c * static_cast<std::size_t>(inputs) + static_cast<std::size_t>(i)];
      squares[c] += x * x;
    }
}

} // namespace

void Calibration::setMeasure(std::string key, Measure measure) {
  if (key == m_measureKey) return;
  m_measureKey = std::move(key), m_measure = std::move(measure);
  m_activations = {};
}

const Activations &Calibration::activations() {
  if (m_activations.tokens > 0) return m_activations;
  if (!m_measure)
    throw Error(Code::Usage, "this policy needs a calibration text (center, or outlier_source=calibration); give one with "
                             "--calibration, or use outlier_source=weights");
  const auto file = folder() / fmt::format("activations-{}.bin", m_measureKey.substr(0, 16));
  if (!m_folder.empty() && readActivations(file, m_model.shape(), m_activations)) return m_activations;
  m_activations = m_measure(m_stop);
  if (!m_folder.empty() && !writeActivations(file, m_activations) && m_warning.empty())
    m_warning = fmt::format("calibration cannot be kept in {}: it is measured again in every run", m_folder.string());
  return m_activations;
}

const ChannelStats &Calibration::channels(Source source, Index layer) { return activations().of(source, layer); }

const std::vector<std::vector<float>> &Calibration::writtenMagnitudes() {
  if (!m_written.empty()) return m_written;
  Backend &backend = m_model.backend();
  const ModelShape &s = m_model.shape();
  const auto d = static_cast<std::size_t>(s.d);
  std::vector<double> squares(d, 0.0);
  const ConstView table = m_model.tokenEmbedding();
  const std::vector<float> embedding = downloadMatrix(backend, table);
  for (std::size_t i = 0; i < embedding.size(); ++i)
    squares[i % d] += static_cast<double>(embedding[i]) * embedding[i] / static_cast<double>(table.rows);
  for (Index layer = 0; layer <= s.layers; ++layer) {
    std::vector<float> magnitude(d);
    for (std::size_t c = 0; c < d; ++c) magnitude[c] = static_cast<float>(std::sqrt(squares[c]));
    m_written.push_back(std::move(magnitude));
    if (layer == s.layers) break;
    const LayerWeights &w = m_model.layer(layer);
    addRowSquares(downloadMatrix(backend, w.wo), w.wo.cols, squares);
    addRowSquares(downloadMatrix(backend, w.wDown), w.wDown.cols, squares);
  }
  return m_written;
}

std::vector<float> Calibration::weightScore(Source source, Index layer) {
  if (source == Source::K || source == Source::KRope || source == Source::V) {
    const Svd &s = svd(source == Source::V ? SvdOf::Wv : SvdOf::Wk, layer);
    std::vector<float> score(s.bt.begin(), s.bt.begin() + s.width);
    for (float &x : score) x = std::abs(x);
    return score;
  }
  std::vector<float> score = writtenMagnitudes()[static_cast<std::size_t>(layer)];
  if (source == Source::Residual || source == Source::DeltaResidual) return score;
  const std::vector<float> norm = downloadMatrix(m_model.backend(), m_model.layer(layer).attentionNorm);
  for (std::size_t c = 0; c < score.size(); ++c) score[c] *= std::abs(norm[c]);
  return score;
}

std::vector<Index> Calibration::outlierChannels(Source source, Index layer, Index n, bool byWeights) {
  return largestChannels(byWeights ? weightScore(source, layer) : channels(source, layer).meanAbs, n);
}

} // namespace xqs
