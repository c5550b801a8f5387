// SPDX-License-Identifier: Apache-2.0
#include "engine/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace xqs {
namespace {
constexpr Queue kQueue = Queue::Compute;

std::vector<Generator::Start> freshStarts(std::span<const Method *const> methods) {
  std::vector<Generator::Start> starts;
  for (const Method *method : methods) starts.push_back({method, nullptr, 0});
  return starts;
}

/// log softmax, in FP64.
double logProbability(std::span<const float> logits, TokenId token) {
  const double largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return static_cast<double>(logits[static_cast<std::size_t>(token)]) - largest - std::log(sum);
}
} // namespace

Generator::Generator(const Model &model, std::span<const Method *const> methods, std::span<const TokenId> prompt,
                     const SamplerSettings &sampling, std::stop_token stop)
    : Generator(model, freshStarts(methods), prompt, sampling, std::move(stop)) {}

Generator::Generator(const Model &model, std::vector<Start> starts, std::span<const TokenId> prompt,
                     const SamplerSettings &sampling, std::stop_token stop, const Fed &fed)
    : m_model(model), m_engine(model) {
  const auto length = static_cast<Index>(prompt.size());
  std::vector<Lane> lanes;
  std::vector<std::size_t> all;
  for (Start &start : starts) {
    const Index held = start.cache ? start.cache->tokens() : 0;
    if (prompt.empty() || held + length > model.config().contextLength)
      throw Error(Code::Usage,
                  fmt::format("the prompt has {} tokens{}; it needs at least one and at most {}, what {} was trained for",
                              length, held > 0 ? fmt::format(" after {} that the cache holds", held) : "",
                              model.config().contextLength, model.config().name));
    const CacheSize size{length, std::min(length, kPromptTokens), State::Stream, start.placement};
    if (!start.cache) start.cache = start.method != nullptr ? start.method->makeCache(size) : makeExactCache(model, size);
    m_sequences.push_back({start.method, std::move(start.cache), {}, false, start.perturbation, 0});
    m_samplers.emplace_back(sampling);
    lanes.push_back(laneOf(m_sequences.back()));
    all.push_back(all.size());
  }
  m_logits = model.backend().allocate(model.config().vocab * sizeOf(DType::F32), Purpose::Activations);
  Index last = 0;
  for (Index first = 0; first < length; first += last) {
    last = std::min(kPromptTokens, length - first);
    for (std::size_t i = 0; i < lanes.size(); ++i) lanes[i] = laneOf(m_sequences[i]);
    m_engine.step(lanes, prompt.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(last)), stop);
    if (fed) fed(first + last);
  }
  draw(all, last - 1);
}

Lane Generator::laneOf(const Sequence &sequence) {
  Lane lane;
  lane.cache = sequence.cache.get();
  lane.perturbation = sequence.perturbation;
  lane.seed = static_cast<std::uint64_t>(lane.cache->tokens()) + 1; // every step another rounding
  return lane;
}

/// Draws a token from `row` of each lane's hidden states, in the order of the last step.
void Generator::draw(std::span<const std::size_t> lanes, Index row) {
  const Index vocab = m_model.config().vocab;
  std::vector<float> logits(static_cast<std::size_t>(vocab));
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    m_engine.logits(m_engine.hidden(static_cast<Index>(i)).rowRange(row, 1), m_logits.f32(1, vocab));
    m_model.backend().download(kQueue, logits.data(), m_logits.data(), m_logits.bytes());
    m_model.backend().sync(kQueue);
    Sequence &s = m_sequences[lanes[i]];
    s.tokens.push_back(m_samplers[lanes[i]].next(logits));
    s.logProbability = logProbability(logits, s.tokens.back());
    s.ended = m_model.tokenizer().specials().ends(s.tokens.back());
  }
}

bool Generator::step(std::stop_token stop) {
  std::vector<Lane> lanes;
  std::vector<std::size_t> active;
  for (std::size_t i = 0; i < m_sequences.size(); ++i) {
    Sequence &s = m_sequences[i];
    if (s.ended || s.cache->tokens() == m_model.config().contextLength) continue;
    lanes.push_back(laneOf(s));
    lanes.back().tokens = std::span(s.tokens).last(1);
    active.push_back(i);
  }
  if (lanes.empty()) return false;
  m_engine.step(lanes, lanes.front().tokens, std::move(stop));
  draw(active, 0);
  return true;
}

Index firstDivergence(std::span<const TokenId> a, std::span<const TokenId> b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

} // namespace xqs
