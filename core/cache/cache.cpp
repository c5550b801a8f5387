// SPDX-License-Identifier: Apache-2.0
#include "cache/cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace xqs {
namespace {
constexpr Queue kQueue = Queue::Compute;
} // namespace

Cache::Cache(const Model &model, const CacheSize &size, std::vector<std::unique_ptr<LayerGroup>> groups,
             std::vector<std::size_t> groupOf)
    : m_model(model), m_size(size), m_groups(std::move(groups)), m_groupOf(std::move(groupOf)), m_stage(model.backend()) {}

void Cache::beginStep(Index firstToken, Index count) {
  XQS_ASSERT(firstToken == m_tokens && count > 0 && count <= m_size.maxStep);
  XQS_ASSERT(m_size.state == State::Stream || m_tokens + count <= m_size.capacity);
  m_stepCount = count;
}

void Cache::prefetch(Index layer) {
  Fetched &fetched = m_fetched[Stage::halfOf(layer)];
  if (m_size.placement == Placement::Host && !m_model.backend().hostVisible()) { // else it lies where it is used
    endStage(fetched.layer);
    Index bytes = 0;
    const std::span<PackedTensor> tensors = group(layer).tensors(layer);
    for (PackedTensor &t : tensors) bytes += t.stageBytes();
    m_stage.begin(layer, bytes);
    for (PackedTensor &t : tensors) t.stage(m_stage);
    fetched = {layer, m_stage.end()};
  }
  if (m_rebuild == Rebuild::Ahead && m_stepCount == 1 && m_tokens > 0 && m_model.backend().readsStored())
    rebuildAhead(layer);
}

void Cache::endStage(Index layer) {
  if (layer < 0) return;
  for (PackedTensor &t : group(layer).tensors(layer)) t.unstage();
}

/// K of the tokens before this step, behind their copies, beside whatever the compute queue does next.
void Cache::rebuildAhead(Index layer) {
  if (group(layer).tensors(layer).empty() || !group(layer).independent() ||
      group(layer).map(layer, Side::K).matrix.empty() || absorbs(layer, Side::K, 1))
    return;
  const std::optional<StoredSide> side = storedSide(layer, Side::K, false);
  if (!side) return;
  Backend &backend = m_model.backend();
  const Index dkv = m_model.shape().dkv();
  Ahead &ahead = m_ahead[Stage::halfOf(layer)];
  if (const Index bytes = (m_tokens + 1) * dkv * sizeOf(DType::F16); ahead.k.bytes() < bytes) {
    ahead.k = {};
    ahead.k = backend.allocate(bytes + kAttendTokens * dkv * sizeOf(DType::F16), Purpose::Activations);
  }
  backend.wait(Queue::Rebuild, backend.record(Queue::Compute));
  backend.wait(Queue::Rebuild, m_fetched[Stage::halfOf(layer)].ready);
  const bool made = backend.rebuildStored(Queue::Rebuild, *side, {0, m_tokens}, ahead.k.view(DType::F16, m_tokens, dkv));
  ahead.layer = made ? layer : -1;
  ahead.ready = backend.record(Queue::Rebuild);
  if (!made) backend.wait(kQueue, ahead.ready); // the queues meet again
}

void Cache::append(Index layer, const LayerInput &input) {
  const Fetched &fetched = m_fetched[Stage::halfOf(layer)];
  if (fetched.layer == layer) m_model.backend().wait(kQueue, fetched.ready);
  group(layer).append(layer, step(), input);
}

void Cache::endStep() {
  for (Fetched &fetched : m_fetched) {
    endStage(fetched.layer);
    fetched.layer = -1;
  }
  for (Ahead &ahead : m_ahead) {
    if (ahead.layer >= 0) m_model.backend().wait(kQueue, ahead.ready); // never attended: the queues still meet
    ahead.layer = -1;
  }
  m_tokens += m_stepCount, m_stepCount = 0;
  for (const auto &group : m_groups) group->endStep(m_tokens);
}

CacheBytes Cache::bytes() const {
  CacheBytes sum;
  for (const auto &group : m_groups) sum += group->bytes(m_tokens);
  return sum;
}

bool Cache::canTruncate(Index tokens) const {
  XQS_ASSERT(m_stepCount == 0);
  return tokens >= 0 && tokens <= m_tokens &&
         std::all_of(m_groups.begin(), m_groups.end(), [&](const auto &group) { return group->canTruncate(tokens); });
}

void Cache::truncate(Index tokens) {
  if (!canTruncate(tokens)) {
    Index below = std::clamp<Index>(tokens, 0, m_tokens), above = below;
    while (!canTruncate(below)) --below;
    while (!canTruncate(above)) ++above;
    throw Error(Code::Usage,
                below == above
                    ? fmt::format("a cache of {} tokens cannot be cut to {}", m_tokens, tokens)
                    : fmt::format("a cache of {} tokens cannot be cut to {}: what would be open then is packed already; "
                                  "the nearest lengths possible are {} and {}",
                                  m_tokens, tokens, below, above));
  }
  for (const auto &group : m_groups) group->resize(tokens);
  m_tokens = tokens;
}

void Cache::visitState(const StateVisitor &visit) const {
  XQS_ASSERT(m_stepCount == 0);
  for (const auto &group : m_groups) group->visitState(visit);
}

void Cache::restore(Index tokens, const StateVisitor &fill) {
  XQS_ASSERT(m_tokens == 0 && m_stepCount == 0);
  for (const auto &group : m_groups) group->resize(tokens);
  m_tokens = tokens;
  visitState(fill);
}

void Cache::rebuild(Index layer, Side side, Version version, TokenRange range, View out) const {
  group(layer).image(layer, side, version, range, out);
  if (side == Side::K && group(layer).ropeAfter(layer)) m_model.rope(kQueue, out, m_model.shape().kvHeads, range.begin);
}

/// Rebuilding costs dkv w multiply-adds a token, whatever the queries; absorbing makes every query sum rows of w instead of
/// dh channels.
bool Cache::absorbs(Index layer, Side side, Index queries) const {
  const LayerGroup &g = group(layer);
  if (m_form == AttendForm::Rebuilt || g.map(layer, side).matrix.empty()) return false;
  // K's map must not stand behind a rotation by position; and a K that is absorbed has one head, so V must have one too.
  if (side == Side::K && (!m_model.config().ropeFrequency.empty() || !absorbs(layer, Side::V, queries))) return false;
  if (m_form == AttendForm::Absorbed) return true;
  const ModelShape &s = m_model.shape();
  const Index width = g.rowWidth(layer, side);
  return m_model.backend().mayReorder() && queries * s.heads * (width - s.dh) < s.dkv() * width;
}

AttentionSide Cache::side(Index layer, Side which, TokenRange chunk, bool absorbed, std::vector<Buffer> &scratch) const {
  const Index width = absorbed ? group(layer).rowWidth(layer, which) : m_model.shape().dkv();
  const auto read = [&](Version version, TokenRange range) {
    scratch.push_back(m_model.backend().allocate(range.size() * width * sizeOf(DType::F32), Purpose::Scratch));
    const View rows = scratch.back().f32(range.size(), width);
    if (absorbed)
      group(layer).rows(layer, which, version, range, rows);
    else
      rebuild(layer, which, version, range, rows);
    return rows;
  };
  AttentionSide s;
  s.heads = absorbed ? 1 : m_model.shape().kvHeads;
  s.stored = read(Version::Stored, chunk);
  // With one query the stored form of an open token is its exact one.
  if (const ExactFrom from = exactFrom(layer, which); !from.never() && m_stepCount > 1) {
    s.from = from;
    s.exactBegin = std::clamp(exactBegin(layer, which), chunk.begin, chunk.end);
    if (s.exactBegin < chunk.end) s.exact = read(Version::Exact, {s.exactBegin, chunk.end});
  }
  return s;
}

/// q_h Wk_h for every head: [n, H * w].
ConstView Cache::absorbedQueries(Index layer, ConstView q, Buffer &buffer) const {
  Backend &backend = m_model.backend();
  const ModelShape &s = m_model.shape();
  const ConstView columns = group(layer).map(layer, Side::K).columns;
  const Index width = columns.rows;
  buffer = backend.allocate(q.rows * s.heads * width * sizeOf(DType::F32), Purpose::Scratch);
  const View out = buffer.f32(q.rows, s.heads * width);
  for (Index head = 0; head < s.heads; ++head)
    backend.matmul(kQueue, q.colRange(head * s.dh, s.dh), columns.colRange(head / (s.heads / s.kvHeads) * s.dh, s.dh),
                   out.colRange(head * width, width));
  return out;
}

/// out_h = sums_h Wv_h^T + bias: weights sum to one.
void Cache::unabsorb(Index layer, ConstView sums, View out) const {
  Backend &backend = m_model.backend();
  const ModelShape &s = m_model.shape();
  const AffineMap &map = group(layer).map(layer, Side::V);
  backend.matmulHeads(kQueue, s.heads, s.kvHeads, sums, map.matrix, out);
  if (map.bias.empty()) return;
  for (Index head = 0; head < s.heads; ++head)
    backend.addRow(kQueue, out.colRange(head * s.dh, s.dh), map.bias.colRange(head / (s.heads / s.kvHeads) * s.dh, s.dh));
}

std::optional<StoredSide> Cache::storedSide(Index layer, Side which, bool absorbed) const {
  const LayerGroup &g = group(layer);
  std::optional<StoredSide> side = g.stored(layer, which);
  if (!side) return side;
  side->heads = absorbed ? 1 : m_model.shape().kvHeads;
  if (absorbed) return side;
  side->map = g.map(layer, which).matrix, side->bias = g.map(layer, which).bias;
  if (which == Side::K && g.ropeAfter(layer)) side->rope = m_model.config().ropeFrequency;
  return side;
}

/// One query (absorbed, where K is), whose rows K and V are read where they lie; false where the backend or the method
/// cannot.
bool Cache::attendStored(Index layer, ConstView q, View out, bool absorbK, bool absorbV) const {
  Backend &backend = m_model.backend();
  if (m_stepCount != 1 || m_rebuild == Rebuild::Chunks || !backend.readsStored()) return false;
  const ModelShape &s = m_model.shape();
  std::optional<StoredSide> k = storedSide(layer, Side::K, absorbK), v = storedSide(layer, Side::V, absorbV);
  if (!k || !v) return false;
  if (const Ahead &ahead = m_ahead[Stage::halfOf(layer)]; ahead.layer == layer) {
    const View all = ahead.k.view(DType::F16, stepEnd(), s.dkv());
    backend.wait(kQueue, ahead.ready);
    if (!backend.rebuildStored(kQueue, *k, step(), all.rowRange(stepFirst(), 1))) return false;
    k = StoredSide{};
    k->width = s.dkv(), k->heads = s.kvHeads;
    StoredSide::Block &block = k->blocks.emplace_back();
    block.rows = all.rows, block.plain = all;
  }
  return backend.attendStored(kQueue, {q, std::move(*k), std::move(*v), s.heads,
                                       static_cast<float>(1.0 / std::sqrt(static_cast<double>(s.dh))), out});
}

void Cache::attend(Index layer, ConstView q, View out) const {
  Backend &backend = m_model.backend();
  const ModelShape &s = m_model.shape();
  const bool absorbV = absorbs(layer, Side::V, q.rows), absorbK = absorbs(layer, Side::K, q.rows);
  Buffer queries, sums, running;
  AttentionArgs args;
  args.q = absorbK ? absorbedQueries(layer, q, queries) : q;
  args.firstQuery = stepFirst();
  args.heads = s.heads;
  args.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(s.dh)));
  args.out = out;
  if (absorbV) {
    const Index width = s.heads * group(layer).rowWidth(layer, Side::V);
    sums = backend.allocate(q.rows * width * sizeOf(DType::F32), Purpose::Scratch);
    args.out = sums.f32(q.rows, width);
  }
  if (attendStored(layer, args.q, args.out, absorbK, absorbV)) {
    if (absorbV) unabsorb(layer, args.out, out);
    return;
  }
  if (stepEnd() > m_chunk) {
    running = backend.allocate(q.rows * 2 * s.heads * sizeOf(DType::F32), Purpose::Scratch);
    args.running = running.f32(q.rows, 2 * s.heads);
  }
  for (Index first = 0; first < stepEnd(); first += m_chunk) {
    const TokenRange chunk{first, std::min(first + m_chunk, stepEnd())};
    std::vector<Buffer> scratch;
    args.first = first;
    args.k = side(layer, Side::K, chunk, absorbK, scratch);
    args.v = side(layer, Side::V, chunk, absorbV, scratch);
    backend.attention(kQueue, args);
  }
  if (absorbV) unabsorb(layer, args.out, out);
}

Method::Method(const PolicySpec &spec, const Model &model, Calibration &calibration) : m_spec(spec), m_model(model) {
  for (Index i = 0; i < model.shape().layers; ++i)
    m_layers.push_back(prepareLayer(layerPlan(spec, model.shape(), i), model, calibration, i));
}

std::unique_ptr<Cache> Method::makeCache(const CacheSize &size) const {
  std::vector<std::unique_ptr<LayerGroup>> groups;
  std::vector<std::size_t> groupOf;
  for (std::size_t i = 0; i < m_layers.size();) {
    std::size_t end = i + 1;
    if (m_layers[i].plan.chain) {
      while (end < m_layers.size() && m_layers[end].plan.chain && !m_layers[end].plan.chain->base) ++end;
      groups.push_back(makeChain(m_model, std::span(m_layers).subspan(i, end - i), static_cast<Index>(i), size));
    } else {
      groups.push_back(makeStoredLayer(m_model, m_layers[i], size));
    }
    groupOf.insert(groupOf.end(), end - i, groups.size() - 1);
    i = end;
  }
  return std::make_unique<Cache>(m_model, size, std::move(groups), std::move(groupOf));
}

std::unique_ptr<Cache> makeExactCache(const Model &model, const CacheSize &size) {
  std::vector<std::unique_ptr<LayerGroup>> groups;
  groups.push_back(makeExactGroup(model, size));
  return std::make_unique<Cache>(model, size, std::move(groups),
                                 std::vector<std::size_t>(static_cast<std::size_t>(model.shape().layers), 0));
}

std::unique_ptr<Method> prepareMethod(const PolicySpec &spec, const Model &model, Calibration &calibration) {
  return std::make_unique<Method>(spec, model, calibration);
}

} // namespace xqs
