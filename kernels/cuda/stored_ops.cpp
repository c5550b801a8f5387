// SPDX-License-Identifier: Apache-2.0
// K and V read as the cache holds them.
#include "cuda_backend.h"

#include "device_views.h"
#include "rows.h"
#include "stored.h"

#include <algorithm>
#include <limits>
#include <optional>

namespace xqs::cuda {
namespace {

constexpr int kInt = std::numeric_limits<std::int32_t>::max();
constexpr Index kTileShared = 80 * 1024; ///< bytes of shared memory that every tile fits in: more than Turing has
constexpr int kFewRows = 8;              ///< tokens that are rebuilt without a tile
constexpr Index kBlocksWanted = 528;     ///< four on each of 132 multiprocessors

/// A side as kernels take it, and its table of blocks on the host.
struct Side {
  StoredImage image{};
  std::vector<StoredBlock> table;
  ConstView map;
  const StoredBlock *blocks() const { return table.data(); }
  int tokens() const { return image.rows.tokens; }
  /// From the first to the last tile that the streaming kernels do not take, and whether there are others.
  Part tiled(bool streams) const {
    const int tiles = static_cast<int>(ceilDiv(tokens(), kTileTokens));
    Part part{0, tiles, false};
    if (!streams) return part;
    int first = tiles, last = -1, count = 0;
    for (int tile = 0; tile < tiles; ++tile) {
      const int begin = tile * kTileTokens, end = std::min(begin + kTileTokens, tokens());
      if (streamedBlock(image.rows, blocks(), begin, end) >= 0) continue;
      first = std::min(first, tile), last = tile, ++count;
    }
    return {first, std::max(0, last - first + 1), count < tiles};
  }
};

bool takesBlock(const StoredSide &side, const StoredSide::Block &b, Index outliers) {
  if (b.outliers.cols != outliers && b.rows > 0) return false;
  if (outliers > 0 && (b.outliers.type != DType::F16 || b.outliers.rows < b.rows)) return false;
  if (!b.plain.empty()) return b.plain.cols == side.width - outliers && b.plain.rows >= b.rows;
  const QuantFormat &f = b.packed.format;
  return b.packed.codes != nullptr && b.packed.width == side.width - outliers && f.group > 0 && f.group < kInt &&
         (f.bits == 2 || f.bits == 3 || f.bits == 4 || f.bits == 8) &&
         (f.axis == Axis::Token || b.firstRow % f.group == 0) && b.firstRow + b.rows <= b.packed.rows;
}

StoredBlock blockFor(const StoredSide::Block &b, Index first) {
  StoredBlock block{};
  block.first = static_cast<std::int32_t>(first);
  block.outliers = halves(b.outliers);
  block.outlierStride = static_cast<std::int32_t>(b.outliers.stride);
  if (!b.plain.empty()) {
    block.kind = b.plain.type == DType::F16 ? Body::F16 : Body::F32;
    block.body = b.plain.data;
    block.bodyStride = static_cast<std::int32_t>(b.plain.stride * sizeOf(b.plain.type));
    return block;
  }
  const QuantFormat &f = b.packed.format;
  const Index scales =
      f.axis == Axis::Token ? b.firstRow * f.groupsPerRow(b.packed.width) : b.firstRow / f.group * b.packed.width;
  block.kind = Body::Codes;
  block.body = b.packed.codes + b.firstRow * b.packed.rowBytes();
  block.bodyStride = static_cast<std::int32_t>(b.packed.rowBytes());
  block.scales = b.packed.scales + scales;
  block.zeros = b.packed.zeros + scales;
  return block;
}

/// Nothing where the kernels do not take this form.
std::optional<Side> sideFor(const StoredSide &s) {
  Side side;
  StoredImage &image = side.image;
  StoredRows &rows = image.rows;
  const bool mapped = !s.map.empty();
  const Index columns = mapped ? s.map.rows : s.width, tokens = s.tokens();
  if (tokens <= 0 || tokens > kInt / 2 || s.width <= 0 || s.width > kInt / 16 || columns > kInt / 16) return {};
  if (s.heads <= 0 || columns % s.heads != 0 || (mapped && s.map.cols != s.width)) return {};
  if (!s.bias.empty() && (!isF32(s.bias) || s.bias.cols != columns)) return {};
  if (!s.sinks.empty() && (s.sinks.type != DType::F16 || s.sinks.cols != s.width)) return {};
  image.heads = static_cast<int>(s.heads), image.dh = static_cast<int>(columns / s.heads);
  image.pairs = static_cast<int>(s.rope.size());
  if (image.pairs > kMaxPairs || (image.pairs > 0 && 2 * image.pairs != image.dh)) return {};
  std::copy(s.rope.begin(), s.rope.end(), image.frequency);
  side.map = s.map;
  image.map = mapped ? halves(s.map) : nullptr;
  image.mapStride = static_cast<int>(s.map.stride);
  image.bias = s.bias.empty() ? nullptr : floats(s.bias);

  const StoredSide::Block *packed = nullptr, *any = nullptr;
  Index first = 0;
  for (const StoredSide::Block &b : s.blocks) {
    if (b.rows == 0) continue;
    if (any == nullptr) any = &b;
    if (!takesBlock(s, b, any->outliers.cols)) return {};
    if (b.plain.empty()) {
      if (packed != nullptr && !(packed->packed.format == b.packed.format)) return {};
      packed = &b;
    }
    side.table.push_back(blockFor(b, first));
    first += b.rows;
  }
  rows.tokens = static_cast<int>(tokens), rows.width = static_cast<int>(s.width);
  rows.outliers = static_cast<int>(any->outliers.cols);
  rows.sinks = halves(s.sinks), rows.sinkStride = static_cast<int>(s.sinks.stride);
  rows.sinkRows = s.sinks.empty() ? 0 : static_cast<int>(s.sinks.rows);
  rows.bits = 16, rows.group = rows.segment = rows.groupsPerSegment = rows.groupsPerRow = 1;
  if (packed != nullptr) {
    const PackShape shape = packShape(packed->packed.format, packed->packed.width);
    rows.bits = shape.bits, rows.perChannel = shape.perChannel;
    rows.group = static_cast<int>(shape.group), rows.segment = static_cast<int>(shape.segment);
    rows.groupsPerSegment = static_cast<int>(shape.groupsPerSegment);
    rows.groupsPerRow = static_cast<int>(shape.groupsPerRow);
  }
  rows.blocks = static_cast<int>(side.table.size());
  std::copy_n(side.table.begin(), std::min<Index>(rows.blocks, StoredRows::kFewBlocks), rows.few);
  return side;
}

/// Bytes that a side's tokens are, with its map once, for traces.
double bytesOf(const StoredSide &s, Index tokens) {
  double bytes = xqs::bytesOf(s.map) + xqs::bytesOf(s.sinks);
  const double part = static_cast<double>(tokens) / static_cast<double>(std::max<Index>(1, s.tokens()));
  for (const StoredSide::Block &b : s.blocks) {
    bytes += part * static_cast<double>(b.rows * b.outliers.cols * 2);
    bytes += part * (b.plain.empty() ? packedBytes(b.packed, b.rows)
                                     : static_cast<double>(b.rows * b.plain.cols * sizeOf(b.plain.type)));
  }
  return bytes;
}
/// Multiply-adds of the map (2 FLOPs).
double mapFlops(const StoredSide &s, Index tokens) {
  return 2.0 * static_cast<double>(tokens) * static_cast<double>(s.map.rows * s.map.cols);
}

/// Device memory of what kernels take otherwise than as it comes: a long table of blocks; a map that is FP32, or whose rows
/// are not aligned to 16 bytes, as aligned FP16 rows.
struct Prepared {
  Index table, map, mapStride;
  explicit Prepared(const Side &side)
      : table(side.image.rows.blocks > StoredRows::kFewBlocks
                  ? ceilDiv(std::ssize(side.table) * Index{sizeof(StoredBlock)}, 16) * 16
                  : 0),
        map(0), mapStride(ceilDiv(side.map.cols, 8) * 8) {
    const bool aligned =
        side.map.type == DType::F16 && side.map.stride % 8 == 0 && reinterpret_cast<std::uintptr_t>(side.map.data) % 16 == 0;
    if (!side.map.empty() && !aligned) map = side.map.rows * mapStride * 2;
  }
  Index bytes() const { return table + map; }

  void put(cudaStream_t stream, Side &side, std::byte *at, unsigned long long *saturated) const {
    if (table > 0) {
      side.image.rows.more = reinterpret_cast<StoredBlock *>(at);
      storeTable(stream, side.blocks(), side.image.rows.blocks, reinterpret_cast<StoredBlock *>(at));
    }
    if (map == 0) return;
    const View rows(at + table, DType::F16, side.map.rows, side.map.cols, mapStride);
    if (side.map.type == DType::F16)
      copyRows(stream, side.map, rows);
    else
      narrowRows(stream, floats(side.map), side.map.stride, halves(rows), mapStride, rows.rows, rows.cols, saturated);
    side.image.map = halves(rows), side.image.mapStride = static_cast<int>(mapStride);
  }
};

} // namespace

bool CudaBackend::attendStored(Queue queue, const StoredAttention &args) {
  std::optional<Side> k = sideFor(args.k), v = sideFor(args.v);
  if (!k || !v || args.heads <= 0 || args.q.rows != 1 || args.out.rows != 1 || !isF32(args.q) || !isF32(args.out))
    return false;
  const Index heads = args.heads, dh = k->image.dh, dv = v->image.dh;
  if (v->image.pairs > 0 || v->image.map != nullptr || k->tokens() != v->tokens() || heads % k->image.heads != 0 ||
      heads % v->image.heads != 0)
    return false;
  if (args.q.cols != heads * dh || args.out.cols != heads * dv) return false;
  if (std::max(tileScoresShared(k->image, static_cast<int>(heads)), kTileShared) > m_sharedLimit) return false;

  Decode d{};
  d.q = floats(args.q), d.out = floats(args.out), d.scale = args.scale;
  d.queryHeads = static_cast<int>(heads), d.dv = static_cast<int>(dv), d.tokens = k->tokens();
  d.tiles = static_cast<int>(ceilDiv(d.tokens, kTileTokens));
  const bool streams = canStreamValues(v->image);
  const Part tilesK = k->tiled(canStreamScores(k->image, d.queryHeads)), tilesV = v->tiled(streams);
  // As many splits as fill the GPU, by the shape alone: a sum's order does not depend on the machine.
  const Index group = heads / v->image.heads;
  const Index units =
      v->image.heads * ceilDiv(dv, kTileColumns) * ceilDiv(group, streams ? streamedHeads(static_cast<int>(group)) : 8);
  d.tilesPerSplit = static_cast<int>(ceilDiv(d.tiles, std::clamp<Index>(kBlocksWanted / units, 1, d.tiles)));
  d.splits = static_cast<int>(ceilDiv(d.tiles, d.tilesPerSplit));
  Part splitsV{tilesV.first / d.tilesPerSplit, 0, tilesV.mixed};
  if (tilesV.count > 0) splitsV.count = (tilesV.first + tilesV.count - 1) / d.tilesPerSplit + 1 - splitsV.first;
  const bool streamsV = tilesV.mixed || tilesV.count == 0;
  const int streamed = streamsV ? d.splits : 0;

  const Op op(*this, queue, "attendStored", bytesOf(args.k, d.tokens) + bytesOf(args.v, d.tokens),
              mapFlops(args.k, d.tokens) + mapFlops(args.v, d.tokens) +
                  2.0 * static_cast<double>(d.tokens) * static_cast<double>(heads * (dh + dv)));
  const Scratch weights(*this, queue, heads * d.tiles * kTileTokens * 4), stats(*this, queue, heads * d.tiles * 8),
      partials(*this, queue, heads * dv * (streamed + splitsV.count) * 4);
  const Prepared ofK(*k), ofV(*v);
  const Scratch prepared(*this, queue, ofK.bytes() + ofV.bytes() + 1);
  d.weights = weights.as<float>(), d.stats = stats.as<float2>(), d.partials = partials.as<float>();
  ofK.put(stream(queue), *k, prepared.data(), saturatedCounter());
  ofV.put(stream(queue), *v, prepared.data() + ofK.bytes(), saturatedCounter());

  if (tilesK.mixed || tilesK.count == 0) streamScores(stream(queue), k->image, d);
  if (tilesK.count > 0) tileScores(stream(queue), k->image, d, tilesK);
  if (streamsV) streamValues(stream(queue), v->image, d);
  if (splitsV.count > 0) tileValues(stream(queue), v->image, d, splitsV, streamed);
  combine(stream(queue), d, streamed, splitsV);
  return true;
}

bool CudaBackend::rebuildStored(Queue queue, const StoredSide &stored, TokenRange range, View out) {
  std::optional<Side> side = sideFor(stored);
  if (!side || range.begin < 0 || range.end > side->tokens() || kTileShared > m_sharedLimit) return false;
  if (out.rows != range.size() || out.cols != Index{side->image.heads} * side->image.dh) return false;
  if (range.empty()) return true;
  if (side->image.map != nullptr && range.size() <= kFewRows) return rebuildFew(queue, stored, range, out);
  const Op op(*this, queue, "rebuildStored", bytesOf(stored, range.size()) + xqs::bytesOf(out),
              mapFlops(stored, range.size()));
  const Prepared prepared(*side);
  const Scratch scratch(*this, queue, prepared.bytes() + 1);
  prepared.put(stream(queue), *side, scratch.data(), saturatedCounter());
  tileRows(stream(queue), side->image, static_cast<int>(range.begin), static_cast<int>(range.size()), out.data, out.stride,
           out.type == DType::F16);
  return true;
}

/// A tile of 128 tokens would walk the whole map for a few: the step's own token goes through a matrix-vector product. What
/// is counted is counted by the operations that this is made of.
bool CudaBackend::rebuildFew(Queue queue, const StoredSide &stored, TokenRange range, View out) {
  const Scratch rowBytes(*this, queue, range.size() * stored.width * 4), imageBytes(*this, queue, out.rows * out.cols * 4);
  const View rows(rowBytes.data(), DType::F32, range.size(), stored.width);
  const View image = isF32(out) ? out : View(imageBytes.data(), DType::F32, out.rows, out.cols);
  StoredSide unmapped = stored;
  unmapped.map = unmapped.bias = {}, unmapped.rope = {}, unmapped.heads = 1;
  if (!rebuildStored(queue, unmapped, range, rows)) return false;
  matmul(queue, rows, stored.map, image, false);
  if (!stored.bias.empty()) addRow(queue, image, stored.bias);
  if (!stored.rope.empty()) rope(queue, image, stored.heads, range.begin, stored.rope);
  if (!isF32(out)) convert(queue, image, out);
  return true;
}

} // namespace xqs::cuda
