// SPDX-License-Identifier: Apache-2.0
#include "engine/evaluate.h"

#include "model/matrices.h"

#include <cmath>

namespace xqs {
namespace {

/// Sums by channel, FP64.
struct Sums {
  std::vector<double> sum, sumAbs;
};

class Measurement {
public:
  explicit Measurement(const Model &model) : m_model(model) {
    const ModelShape &s = model.shape();
    for (Index i = 0; i < s.layers * kSources; ++i) {
      const auto width = static_cast<std::size_t>(sourceWidth(static_cast<Source>(i % kSources), s));
      m_sums.push_back({std::vector<double>(width), std::vector<double>(width)});
    }
  }

  void add(const ExactTrace &trace) {
    m_tokens += trace.tokens();
    std::vector<float> lastX, lastResidual;
    for (Index layer = 0; layer < m_model.shape().layers; ++layer) {
      const std::vector<float> x = host(trace.normed(layer)), residual = host(trace.residual(layer));
      addRows(layer, Source::X, x, {});
      addRows(layer, Source::Residual, residual, {});
      addRows(layer, Source::DeltaX, x, lastX);
      addRows(layer, Source::DeltaResidual, residual, lastResidual);
      addRows(layer, Source::K, host(trace.k(layer)), {});
      addRows(layer, Source::KRope, host(trace.kRope(layer)), {});
      addRows(layer, Source::V, host(trace.v(layer)), {});
      lastX = x, lastResidual = residual;
    }
  }

  Activations result() const {
    Activations a;
    a.tokens = m_tokens;
    const auto n = static_cast<double>(m_tokens);
    for (const Sums &s : m_sums) {
      ChannelStats c;
      for (const double x : s.sum) c.mean.push_back(static_cast<float>(x / n));
      for (const double x : s.sumAbs) c.meanAbs.push_back(static_cast<float>(x / n));
      a.channels.push_back(std::move(c));
    }
    return a;
  }

private:
  std::vector<float> host(ConstView view) const { return downloadMatrix(m_model.backend(), view); }
  void addRows(Index layer, Source source, const std::vector<float> &rows, const std::vector<float> &minus) {
    Sums &s = m_sums[static_cast<std::size_t>(layer * kSources) + static_cast<std::size_t>(source)];
    const std::size_t width = s.sum.size();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const float x = minus.empty() ? rows[i] : rows[i] - minus[i];
      s.sum[i % width] += x;
      s.sumAbs[i % width] += std::abs(x);
    }
  }

  const Model &m_model;
  Index m_tokens = 0;
  std::vector<Sums> m_sums; ///< [layer * kSources + source]
};

} // namespace

Activations measureActivations(const Model &model, std::span<const TokenId> tokens, Index window, std::stop_token stop) {
  Measurement measurement(model);
  Engine engine(model);
  ExactTrace trace(model, window);
  for (Index first = 0; first + window <= std::ssize(tokens); first += window) {
    const auto cache = makeExactCache(model, {window, window, State::All});
    Lane lane;
    lane.cache = cache.get(), lane.trace = &trace;
    engine.step({&lane, 1}, tokens.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(window)), stop);
    measurement.add(trace);
  }
  return measurement.result();
}

} // namespace xqs
