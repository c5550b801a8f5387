// SPDX-License-Identifier: Apache-2.0
#include "attention.h"
#include "attention_args.h"
#include "cuda_backend.h"
#include "device_views.h"

namespace xqs::cuda {
namespace {

/// Rows and every `width`-th channel start at multiples of 16 bytes.
bool alignedHeads(ConstView v, Index width) { return aligned16(v.data, v.stride * sizeOf(v.type)) && width % 4 == 0; }

AttentionRows rowsOf(const AttentionSide &side, Index first) {
  const Index width = side.stored.cols / side.heads;
  const bool never = side.from.never();
  return {floats(side.stored),
          floats(side.exact),
          side.stored.stride,
          side.exact.stride,
          side.exactBegin - first,
          side.from.block,
          side.from.window,
          static_cast<int>(side.heads),
          static_cast<int>(width),
          alignedHeads(side.stored, width) && (never || side.exact.empty() || alignedHeads(side.exact, width))};
}

} // namespace

void CudaBackend::attention(Queue queue, const AttentionArgs &args) {
  checkAttention(args);
  const Op op(*this, queue, "attention", attentionBytes(args), attentionFlops(args));
  if (args.q.empty() || args.out.empty()) return;
  AttentionChunk chunk{};
  chunk.q = floats(args.q), chunk.qStride = args.q.stride, chunk.qAligned = alignedHeads(args.q, args.q.cols / args.heads);
  chunk.out = floats(args.out), chunk.outStride = args.out.stride;
  chunk.outAligned = alignedHeads(args.out, args.out.cols / args.heads);
  chunk.running = floats(args.running), chunk.runningStride = args.running.stride;
  chunk.k = rowsOf(args.k, args.first), chunk.v = rowsOf(args.v, args.first);
  chunk.n = args.q.rows, chunk.heads = args.heads;
  chunk.firstQuery = args.firstQuery, chunk.first = args.first, chunk.tokens = args.k.stored.rows;
  chunk.scale = args.scale, chunk.more = args.first > 0, chunk.last = args.last();
  const Scratch scratch(*this, queue, attentionScratch(chunk));
  attend(stream(queue), chunk, scratch.as<float>());
}

} // namespace xqs::cuda
