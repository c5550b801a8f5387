// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tensor.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace xqs {

/// One storage type of GGUF tensors: consecutive elements of a row are packed into blocks of `blockElements` values in
/// `blockBytes` bytes. A row is a whole number of blocks.
struct BlockType {
  const char *name;
  std::uint32_t id; ///< the number in the file
  Index blockElements;
  Index blockBytes;
  /// Rebuilds `blocks` blocks at `src` (any alignment) into `out`: [blocks * blockElements] fp32. All arithmetic is FP32, a
  /// product and a sum rounded each.
  void (*dequantize)(const std::byte *src, Index blocks, float *out);
};

/// Every type that can be read, one line each.
std::span<const BlockType> blockTypes();
/// Null for a type that cannot be read.
const BlockType *findBlockType(std::uint32_t id);
/// For messages: the name of a type, also of those that cannot be read; "type 77" for unknown numbers.
std::string blockTypeName(std::uint32_t id);

} // namespace xqs
