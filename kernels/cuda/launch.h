// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cuda_check.h"
#include "pack_math.h"

#include <cuda_runtime.h>

namespace xqs::cuda {

constexpr int kWarp = 32;
constexpr int kThreads = 256; ///< of a block where each thread has an element of its own
constexpr unsigned kAllLanes = 0xffffffffu;

inline unsigned blocksFor(Index threads) { return static_cast<unsigned>(ceilDiv(threads, kThreads)); }

/// Starts a grid on a stream; throws what the launch reports, with `what` and a shape. `shared`: bytes of dynamic shared
/// memory, up to what a block of the device may have.
template <typename... P, typename... A> void launch(cudaStream_t stream, void (*kernel)(P...), dim3 grid, dim3 block,
                                                    std::size_t shared, const char *what, std::initializer_list<Index> shape,
                                                    A &&...args) {
  constexpr std::size_t kWithoutAsking = 48 * 1024;
  if (shared > kWithoutAsking)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)), what, shape);
  cudaLaunchConfig_t config{};
  config.gridDim = grid, config.blockDim = block, config.dynamicSmemBytes = shared, config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, std::forward<A>(args)...), what, shape);
}

/// The block's dynamic shared memory.
template <typename T> __device__ inline T *dynamicShared() {
#if defined(__CUDACC__)
  extern __shared__ __align__(128) unsigned char shared[];
  return reinterpret_cast<T *>(shared);
#else // tests/emulator
  return reinterpret_cast<T *>(emulator::dynamicShared());
#endif
}

/// Sum over a warp in one fixed order; every lane has it.
template <typename T> __device__ inline T warpSum(T value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}
__device__ inline float warpMax(float value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  return value;
}

/// Sum over a block in one fixed order; every thread has it. `partial`: shared, one value a warp; free again after the next
/// barrier.
template <typename T> __device__ inline T blockSum(T value, T *partial) {
  value = warpSum(value);
  if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = value;
  __syncthreads();
  T sum = 0;
  for (unsigned w = 0; w < blockDim.x / kWarp; ++w) sum += partial[w];
  __syncthreads();
  return sum;
}

} // namespace xqs::cuda
