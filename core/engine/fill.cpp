// SPDX-License-Identifier: Apache-2.0
#include "engine/fill.h"

#include "model/random.h"

#include <vector>

namespace xqs {
namespace {
constexpr Queue kQueue = Queue::Compute;

/// Random rows of everything that a layer may store.
class RandomRows {
public:
  RandomRows(const Model &model, Index rows, std::uint64_t seed) : m_shape(model.shape()), m_rows(rows) {
    std::vector<float> values(static_cast<std::size_t>(rows * (2 * m_shape.d + 3 * m_shape.dkv())));
    const std::uint64_t stream = mix(seed);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = nearNormal(mix(stream + i));
    Backend &backend = model.backend();
    m_buffer = backend.allocate(std::ssize(values) * sizeOf(DType::F32), Purpose::Activations);
    backend.upload(kQueue, m_buffer.data(), values.data(), m_buffer.bytes());
    backend.sync(kQueue);
  }
  LayerInput input(Index count, bool kv) const {
    Index at = 0;
    const auto part = [&](Index width) {
      const ConstView rows(m_buffer.data() + at * m_rows * sizeOf(DType::F32), DType::F32, count, width);
      at += width;
      return rows;
    };
    LayerInput input{part(m_shape.d), part(m_shape.d), {}, {}, {}};
    if (kv) input.k = part(m_shape.dkv()), input.kRope = part(m_shape.dkv()), input.v = part(m_shape.dkv());
    return input;
  }

private:
  ModelShape m_shape;
  Index m_rows;
  Buffer m_buffer; ///< residual, normed, k, kRope, v behind each other
};

void appendRows(const Model &model, Cache &cache, Index tokens, std::uint64_t seed, const std::stop_token &stop) {
  const RandomRows rows(model, std::min(tokens, kFillTokens), seed);
  while (cache.tokens() < tokens) {
    const Index count = std::min(kFillTokens, tokens - cache.tokens());
    cache.beginStep(cache.tokens(), count);
    for (Index layer = 0; layer < model.shape().layers; ++layer) {
      if (stop.stop_requested()) throw Error(Code::Cancelled, "cancelled");
      cache.append(layer, rows.input(count, cache.needsKv(layer)));
      cache.advance(layer);
    }
    cache.endStep();
  }
  model.backend().sync(kQueue);
}

/// On the backend but for the last bytes: a view has no type of one byte.
void copyBytes(Backend &backend, const std::byte *from, std::byte *to, Index bytes) {
  constexpr Index kRow = 4096;
  const Index rows = bytes / kRow, rest = bytes % kRow, halves = kRow / sizeOf(DType::F16);
  if (rows > 0) backend.copy(kQueue, ConstView(from, DType::F16, rows, halves), View(to, DType::F16, rows, halves));
  if (rest == 0) return;
  std::vector<std::byte> host(static_cast<std::size_t>(rest));
  backend.download(kQueue, host.data(), from + rows * kRow, rest);
  backend.sync(kQueue);
  backend.upload(kQueue, to + rows * kRow, host.data(), rest);
  backend.sync(kQueue);
}

} // namespace

void fillCaches(const Model &model, std::span<Cache *const> caches, Index tokens, std::uint64_t seed,
                const std::stop_token &stop) {
  if (caches.empty() || tokens == 0) return;
  appendRows(model, *caches.front(), tokens, seed, stop);
  struct Part {
    const std::byte *data;
    Index used;
  };
  std::vector<Part> parts;
  caches.front()->visitState([&](const Buffer &buffer, Index used) { parts.push_back({buffer.data(), used}); });
  for (Cache *const cache : caches.subspan(1)) {
    std::size_t at = 0;
    cache->restore(tokens, [&](const Buffer &buffer, Index used) {
      const Part &part = parts[at++];
      XQS_ASSERT(used == part.used);
      copyBytes(model.backend(), part.data, buffer.data(), used);
    });
    XQS_ASSERT(at == parts.size());
  }
}

} // namespace xqs
