// SPDX-License-Identifier: Apache-2.0
#include "run/memory_fit.h"

#include "engine/evaluate.h"
#include "engine/generate.h"
#include "run/experiment.h"
#include "run/generation.h"
#include "run/machine.h"
#include "run/session.h"

#include <fmt/format.h>

#include <algorithm>

namespace xqs {

namespace {

constexpr Index kFloat = sizeOf(DType::F32);

std::string amount(Index bytes) {
  const double mib = static_cast<double>(bytes) / (1 << 20);
  if (mib < 1) return fmt::format("{:.1f} KiB", mib * 1024);
  return mib < 1024 ? fmt::format("{:.1f} MiB", mib) : fmt::format("{:.1f} GiB", mib / 1024);
}

[[noreturn]] void refuse(const std::string &what, Index bytes, Index free, const std::string &remedy) {
  throw MemoryRefusal(
      fmt::format("{} needs {} of the GPU's memory, {} are free; use {}, or compute on the CPU (backend cpu)", what,
                  amount(bytes), amount(free), remedy));
}

/// Everything that a cache takes, packed or not.
Index cacheBytes(const CacheBytes &bytes) { return bytes.allocated + bytes.accumulator + bytes.scratch; }

/// Rows of one chunk of attention: K and V, and what they are made from.
Index chunkBytes(const ModelShape &shape, Index tokens) {
  return std::min(tokens, Cache::kAttendTokens) * 2 * (shape.dkv() + shape.d) * kFloat;
}

} // namespace

Index freeMemory(const Backend &backend) {
  const Index free = backend.freeBytes();
  return free < 0 && backend.hostVisible() ? availableMemory() : free;
}

Index activationBytes(const ModelConfig &c, Index rows) {
  return rows * (3 * c.shape.d + 2 * c.shape.heads * c.shape.dh + 3 * c.shape.dkv() + 2 * c.ffn) * kFloat;
}

Index stageBytes(Index hostBytes, Index layers) { return 2 * Stage::kHalves * hostBytes / layers * 9 / 8; }

Index exactCacheBytes(const ModelConfig &c, Index tokens) { return c.shape.layers * 2 * tokens * c.shape.dkv() * kFloat; }

WindowMemory::WindowMemory(const ModelConfig &config, Index window, State state, bool traced, Index free)
    : m_config(config), m_window(window), m_state(state), m_free(free) {
  const ModelShape &s = config.shape;
  m_shared =
      (window * s.d + 2 * std::min(window, WindowEvaluator::kLogitRows) * config.vocab) * kFloat + chunkBytes(s, window);
  if (traced) m_shared += s.layers * window * (2 * s.d + 3 * s.dkv()) * kFloat;
}

Index WindowMemory::exact() const {
  return m_shared + activationBytes(m_config, m_window) + exactCacheBytes(m_config, m_window);
}

Index WindowMemory::lane(const PolicySpec &policy) const {
  return activationBytes(m_config, m_window) + cacheBytes(footprint(policy, m_config.shape, m_window, m_state));
}

Index WindowMemory::group(std::span<const PolicySpec> policies) const {
  Index sum = m_shared;
  for (const PolicySpec &policy : policies) sum += lane(policy);
  return sum;
}

void WindowMemory::require(Index bytes, const std::string &what) const {
  if (!fits(bytes)) refuse(fmt::format("{} on a window of {} tokens", what, m_window), bytes, m_free, "a shorter window");
}

void WindowMemory::require(const PolicySpec &policy) const {
  if (!unlimited()) require(group({&policy, 1}), fmt::format("policy '{}'", policy.canonical()));
}

WindowMemory windowMemory(const Session &session, const Experiment &e, bool stored) {
  return {session.model().config(), e.window, e.state, stored && e.captures, session.backend().freeBytes()};
}

void requireWeights(const ModelConfig &config, DType matrices, Index free) {
  Index bytes = weightBytes(config, matrices);
  if (matrices != DType::F32) bytes += std::max(config.vocab, config.ffn) * config.shape.d * kFloat; // one on its way there
  if (free >= 0 && bytes > free) refuse(fmt::format("the model {}", config.name), bytes, free, "a smaller model");
}

void requireGeneration(const Session &session, const GenerationRequest &request, Index fed) {
  const Index free = session.backend().freeBytes();
  if (free < 0) return;
  const ModelConfig &config = session.model().config();
  const Index tokens = std::min(fed + request.tokens, config.contextLength), step = std::min(fed, Generator::kPromptTokens);
  const CacheSize size{fed, step, State::Stream, request.placement};
  const bool onHost = request.placement == Placement::Host;
  Index caches = exactCacheBytes(config, tokens), host = 0;
  for (const PolicySpec &policy : request.policies) {
    const CacheBytes bytes = footprint(cacheLayout(policy, config.shape), tokens, size);
    caches += cacheBytes(bytes) - (onHost ? bytes.allocated : 0);
    host += onHost ? bytes.allocated : 0;
  }
  caches += stageBytes(host, config.shape.layers);
  const Index twins = request.noiseFloor ? 2 : 1, lanes = twins * (std::ssize(request.policies) + 1);
  const Index bytes =
      twins * caches + activationBytes(config, lanes * step) + chunkBytes(config.shape, tokens) + config.vocab * kFloat;
  const std::string what =
      fmt::format("generating {} tokens after {} under {} policies", request.tokens, fed, request.policies.size());
  const std::string remedy = "fewer policies at once, fewer tokens";
  if (bytes > free) refuse(what, bytes, free, remedy + (onHost ? "" : ", caches in the host's memory (placement host)"));
  // Page-locked memory cannot be paged out: what is available is the most there is.
  if (const Index available = availableMemory(); available >= 0 && twins * host > available)
    throw MemoryRefusal(fmt::format("{} needs {} of the host's memory, {} are free; use {}", what, amount(twins * host),
                                    amount(available), remedy));
}

} // namespace xqs
