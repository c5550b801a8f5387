// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "half.h"

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace xqs {

using Index = std::int64_t;

/// Tokens [begin, end) of one sequence.
struct TokenRange {
  Index begin = 0;
  Index end = 0;
  constexpr Index size() const { return end - begin; }
  constexpr bool empty() const { return end <= begin; }
  friend constexpr bool operator==(TokenRange, TokenRange) = default;
};

enum class DType : std::uint8_t { F32, F16 };
constexpr Index sizeOf(DType type) { return type == DType::F32 ? 4 : 2; }

/// Non-owning matrix [rows, cols], row-major, `stride` elements from row to row. The memory belongs to a backend: only its
/// operations may touch it (host code may where `Backend::hostVisible()`).
template <typename Byte> struct BasicView {
  Byte *data = nullptr;
  DType type = DType::F32;
  Index rows = 0;
  Index cols = 0;
  Index stride = 0;

  constexpr BasicView() = default;
  constexpr BasicView(Byte *data_, DType type_, Index rows_, Index cols_, Index stride_ = -1)
      : data(data_), type(type_), rows(rows_), cols(cols_), stride(stride_ < 0 ? cols_ : stride_) {}
  /// A mutable view is also a constant one.
  template <typename Other>
  requires(!std::is_same_v<Other, Byte> &&
           std::is_convertible_v<Other *, Byte *>) constexpr BasicView(const BasicView<Other> &o)
      : data(o.data), type(o.type), rows(o.rows), cols(o.cols), stride(o.stride) {}

  constexpr bool empty() const { return rows == 0 || cols == 0; }
  constexpr BasicView rowRange(Index begin, Index count) const {
    return {data + begin * stride * sizeOf(type), type, count, cols, stride};
  }
  constexpr BasicView colRange(Index begin, Index count) const {
    return {data + begin * sizeOf(type), type, rows, count, stride};
  }
  /// Row `r` as floats; FP32 host-visible views only.
  auto *row(Index r) const {
    using Element = std::conditional_t<std::is_const_v<Byte>, const float, float>;
    return reinterpret_cast<Element *>(data) + r * stride;
  }
  auto *halfRow(Index r) const {
    using Element = std::conditional_t<std::is_const_v<Byte>, const Half, Half>;
    return reinterpret_cast<Element *>(data) + r * stride;
  }
};
using View = BasicView<std::byte>;
using ConstView = BasicView<const std::byte>;

} // namespace xqs
