// SPDX-License-Identifier: Apache-2.0
#include "engine/evaluate.h"

#include "engine/seconds.h"
#include "model/matrices.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

namespace xqs {
namespace {

constexpr Queue kQueue = Queue::Compute;

/// Layers from the first on that store FP16 KV in all of these plans; not all layers. Policies that are no plans share
/// nothing: what they compute is counted as theirs.
Index sharedLayers(std::span<const Method *const> methods) {
  Index shared = methods.front()->model().shape().layers - 1;
  for (const Method *method : methods) {
    if (method->spec().entries().empty()) return 0;
    Index own = 0;
    while (own < shared && storesFp16Kv(method->layer(own).plan)) ++own;
    shared = own;
  }
  return shared;
}

} // namespace

Protocol parseProtocol(std::string_view text) {
  if (text == "paper") return Protocol::Paper;
  if (text == "llama-perplexity") return Protocol::LlamaPerplexity;
  throw Error(Code::Usage, fmt::format("unknown protocol '{}'; use paper (every position of a window counts) or "
                                       "llama-perplexity (its second half)",
                                       text));
}

WindowScore WindowEvaluator::exact(std::span<const TokenId> tokens, ExactTrace *trace, std::stop_token stop) {
  const auto start = std::chrono::steady_clock::now();
  const auto n = static_cast<Index>(tokens.size());
  const Index d = m_model.shape().d;
  m_tokens.assign(tokens.begin(), tokens.end());
  m_shared.clear();
  if (m_protocol == Protocol::LlamaPerplexity)
    if (const auto bos = m_model.tokenizer().encode(""); !bos.empty()) m_tokens.front() = bos.front();
  const auto cache = makeExactCache(m_model, {n, n, m_state});
  Lane lane;
  lane.cache = cache.get(), lane.trace = trace;
  m_engine.step({&lane, 1}, m_tokens, stop);
  m_exactHidden = m_model.backend().allocate(n * d * sizeOf(DType::F32), Purpose::Activations);
  m_model.backend().copy(kQueue, m_engine.hidden(0), m_exactHidden.f32(n, d));
  Scored scored = std::move(scoreLanes(0, stop).front());
  m_exactPositions = std::move(scored.positions);
  scored.score.seconds = secondsSince(start);
  return scored.score;
}

std::vector<WindowEvaluator::Result> WindowEvaluator::run(std::span<const Method *const> methods, const Options &options) {
  const auto start = std::chrono::steady_clock::now();
  const auto n = static_cast<Index>(m_tokens.size());
  m_model.backend().takeSaturated();
  std::vector<Result> results(methods.size());
  std::vector<Lane> lanes;
  for (std::size_t i = 0; i < methods.size(); ++i) {
    results[i].cache = methods[i]->makeCache({n, n, m_state});
    Lane lane{results[i].cache.get(), nullptr, {}, {}, options.perturbation, options.seed};
    if (options.visit) lane.visit = [&options, i](Index layer, const Cache &cache) { options.visit(i, layer, cache); };
    lanes.push_back(std::move(lane));
  }
  LayerRange range;
  if (!options.visit && options.perturbation == 0) range.first = sharedLayers(methods);
  if (range.first > 0) range.residual = sharedResidual(*methods.front(), range.first, options.stop);
  m_engine.step(lanes, m_tokens, options.stop, range);
  std::vector<Scored> scores = scoreLanes(static_cast<Index>(lanes.size()), options.stop);
  const double share = secondsSince(start) / static_cast<double>(lanes.size());
  std::int64_t saturated = m_model.backend().takeSaturated();
  if (range.first > 0) saturated += std::ssize(methods) * m_shared[static_cast<std::size_t>(range.first - 1)].saturated;
  for (std::size_t i = 0; i < results.size(); ++i) {
    results[i].score = scores[i].score;
    results[i].positions = std::move(scores[i].positions);
    results[i].score.seconds = share;
    results[i].saturated = saturated;
    results[i].firstLayer = range.first;
  }
  return results;
}

ConstView WindowEvaluator::sharedResidual(const Method &method, Index first, std::stop_token stop) {
  Backend &backend = m_model.backend();
  const auto n = static_cast<Index>(m_tokens.size());
  const Index d = m_model.shape().d;
  const auto before = [&](Index layer) {
    return ConstView(m_shared[static_cast<std::size_t>(layer - 1)].residual.f32(n, d));
  };
  if (const Index known = std::ssize(m_shared); known < first) {
    const auto cache = method.makeCache({n, n, m_state});
    Lane lane;
    lane.cache = cache.get();
    LayerRange range{known, first, known > 0 ? before(known) : ConstView(), {}};
    range.reached = [&](Index, ConstView rows) {
      SharedLayer shared{backend.allocate(n * d * sizeOf(DType::F32), Purpose::Activations), backend.takeSaturated()};
      if (!m_shared.empty()) shared.saturated += m_shared.back().saturated;
      backend.copy(kQueue, rows, shared.residual.f32(n, d));
      m_shared.push_back(std::move(shared));
    };
    m_engine.step({&lane, 1}, m_tokens, std::move(stop), range);
  }
  return before(first);
}

std::vector<WindowEvaluator::Scored> WindowEvaluator::scoreLanes(Index lanes, std::stop_token stop) {
  Backend &backend = m_model.backend();
  const Index vocab = m_model.config().vocab, d = m_model.shape().d;
  const auto window = static_cast<Index>(m_tokens.size()), end = window - 1;
  const Index first = firstScored(m_protocol, window), block = std::min(kLogitRows, std::max<Index>(end - first, 1));
  const View exactHidden = m_exactHidden.f32(window, d);
  if (m_logits.bytes() < block * vocab * sizeOf(DType::F32)) {
    m_exactLogits = backend.allocate(block * vocab * sizeOf(DType::F32), Purpose::Activations);
    m_logits = backend.allocate(block * vocab * sizeOf(DType::F32), Purpose::Activations);
  }
  std::vector<Scored> scored(static_cast<std::size_t>(std::max<Index>(lanes, 1)));
  std::vector<Score> scores(static_cast<std::size_t>(block));
  const ResultsGuard results(backend);
  for (Index begin = first; begin < end; begin += block) {
    if (stop.stop_requested()) throw Error(Code::Cancelled, "cancelled");
    const Index n = std::min(block, end - begin);
    const auto targets = std::span(m_tokens).subspan(static_cast<std::size_t>(begin) + 1, static_cast<std::size_t>(n));
    const std::span<Score> out(scores.data(), static_cast<std::size_t>(n));
    const View exactLogits = m_exactLogits.f32(n, vocab);
    m_engine.logits(exactHidden.rowRange(begin, n), exactLogits);
    for (Index lane = 0; lane < std::max<Index>(lanes, 1); ++lane) {
      const View logits = m_logits.f32(n, vocab);
      if (lanes > 0) m_engine.logits(m_engine.hidden(lane).rowRange(begin, n), logits);
      backend.setTag({-1, static_cast<std::int16_t>(lane), "score"});
      backend.score(kQueue, lanes > 0 ? ConstView(exactLogits) : ConstView(), lanes > 0 ? logits : exactLogits, targets,
                    out);
      backend.sync(kQueue);
      PositionScores &p = scored[static_cast<std::size_t>(lane)].positions;
      for (const Score &score : out) {
        p.nll.push_back(score.nll), p.kl.push_back(score.kl);
        p.sameTop.push_back(static_cast<std::uint8_t>(score.sameTop));
      }
    }
  }
  for (Scored &s : scored) {
    const auto count = static_cast<double>(s.positions.nll.size());
    double nll = 0, kl = 0, same = 0;
    for (const float x : s.positions.nll) nll += x;
    for (const float x : s.positions.kl) kl += x;
    for (const std::uint8_t x : s.positions.sameTop) same += x;
    s.score = {static_cast<Index>(s.positions.nll.size()), nll / count, kl / count, same / count, 0};
  }
  return scored;
}

LayerError layerError(const Cache &cache, Index layer, const ExactTrace &trace, const Model &model) {
  Backend &backend = model.backend();
  const Index n = trace.tokens();
  const auto error = [&](ConstView exact, Index width, const auto &fill) {
    const Buffer scratch = backend.allocate(n * width * sizeOf(DType::F32), Purpose::Scratch);
    const View approx = scratch.f32(n, width);
    if (!fill(approx)) return std::numeric_limits<double>::quiet_NaN();
    ErrorSums sums;
    backend.compare(kQueue, exact, approx, sums);
    backend.sync(kQueue);
    return sums.exactSquares > 0 ? std::sqrt(sums.errorSquares / sums.exactSquares) : std::sqrt(sums.errorSquares);
  };
  const auto side = [&](Side which) {
    return [&, which](View out) {
      cache.rebuild(layer, which, Version::Stored, {0, n}, out);
      return true;
    };
  };
  LayerError e;
  e.k = error(trace.kRope(layer), model.shape().dkv(), side(Side::K));
  e.v = error(trace.v(layer), model.shape().dkv(), side(Side::V));
  e.x = error(trace.normed(layer), model.shape().d, [&](View out) {
    return cache.reconstruct(layer, Site::X, {0, n}, out);
  });
  return e;
}

std::vector<LayerError> openLoop(const Method &method, const ExactTrace &trace, State state,
                                 const std::function<void(Index, const Cache &)> &visit, std::stop_token stop) {
  const Model &model = method.model();
  const auto cache = method.makeCache({trace.tokens(), trace.tokens(), state});
  cache->beginStep(0, trace.tokens());
  std::vector<LayerError> errors;
  for (Index layer = 0; layer < model.shape().layers; ++layer) {
    if (stop.stop_requested()) throw Error(Code::Cancelled, "cancelled");
    cache->append(layer, trace.input(layer));
    cache->advance(layer);
    errors.push_back(layerError(*cache, layer, trace, model));
    if (visit) visit(layer, *cache);
  }
  cache->endStep();
  return errors;
}

OutlierPrediction outlierPrediction(const Model &model, Calibration &calibration, const ExactTrace &trace,
                                    std::span<const int> ks) {
  Backend &backend = model.backend();
  const auto largestChannel = [&](ConstView x) {
    Summary s;
    backend.summarize(kQueue, x, s);
    backend.sync(kQueue);
    return s.topChannel[0];
  };
  OutlierPrediction result;
  std::vector<Index> hits(ks.size(), 0);
  for (Index layer = 0; layer < model.shape().layers; ++layer) {
    const Svd &svd = calibration.svd(SvdOf::Wk, layer);
    std::vector<std::int32_t> predicted(static_cast<std::size_t>(svd.width));
    for (std::size_t i = 0; i < predicted.size(); ++i) predicted[i] = static_cast<std::int32_t>(i);
    std::stable_sort(predicted.begin(), predicted.end(), [&](std::int32_t a, std::int32_t b) {
      return std::abs(svd.bt[static_cast<std::size_t>(a)]) > std::abs(svd.bt[static_cast<std::size_t>(b)]);
    });
    const std::int32_t truth = largestChannel(trace.k(layer));
    for (std::size_t i = 0; i < ks.size(); ++i) {
      const auto end = predicted.begin() + std::min<std::ptrdiff_t>(ks[i], std::ssize(predicted));
      if (std::find(predicted.begin(), end, truth) != end) ++hits[i];
    }
    const std::vector<float> forward = svd.uTransposed(svd.rank);
    const Matrix map = uploadMatrix(backend, forward, svd.rank, svd.d);
    const Buffer latent = backend.allocate(trace.tokens() * svd.rank * sizeOf(DType::F32), Purpose::Scratch);
    const View rows = latent.f32(trace.tokens(), svd.rank);
    backend.matmul(kQueue, trace.normed(layer), map.view, rows);
    if (largestChannel(rows) == 0) ++result.layersWithLatentChannel0Largest;
  }
  for (const Index hit : hits)
    result.hitRatePercent.push_back(100.0 * static_cast<double>(hit) / static_cast<double>(model.shape().layers));
  return result;
}

std::vector<float> layerSimilarity(const ExactTrace &trace, const Model &model, Site site) {
  const Index layers = model.shape().layers;
  std::vector<ConstView> rows;
  for (Index i = 0; i < layers; ++i) {
    switch (site) {
    case Site::Residual: rows.push_back(trace.residual(i)); break;
    case Site::K: rows.push_back(trace.k(i)); break;
    case Site::V: rows.push_back(trace.v(i)); break;
    default: rows.push_back(trace.normed(i)); break;
    }
  }
  std::vector<float> cosine(static_cast<std::size_t>(layers * layers));
  model.backend().similarity(kQueue, rows, cosine);
  model.backend().sync(kQueue);
  return cosine;
}

} // namespace xqs
