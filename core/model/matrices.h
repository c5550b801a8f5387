// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend.h"

#include <span>
#include <vector>

namespace xqs {

/// A matrix on a backend, with what owns it.
struct Matrix {
  ConstView view;
  Buffer owned;
};

/// values [rows, cols] as FP32, as every matrix is that is not the model's own; host memory may be reused when the call
/// returns.
Matrix uploadMatrix(Backend &backend, std::span<const float> values, Index rows, Index cols);
/// A matrix of weights as FP32: itself where it is.
Matrix asFloats(Backend &backend, ConstView matrix);
/// Values of a matrix without gaps between its rows, FP32 or FP16; waits for the backend.
std::vector<float> downloadMatrix(Backend &backend, ConstView matrix);

} // namespace xqs
