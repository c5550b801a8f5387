// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend.h"
#include "thread_pool.h"
#include "views.h"

#include <atomic>

namespace xqs {

/// What both CPU backends share: memory, tracing, instruments, and the operations whose result does not depend on an order
/// of summation (copies, element-wise sums, rotation): plain loops that compilers vectorise.
class HostBackend : public Backend {
public:
  explicit HostBackend(int threads) : m_pool(threads) {}

  bool hostVisible() const override { return true; }
  void upload(Queue, std::byte *dst, const void *hostSrc, Index bytes) override;
  void download(Queue, void *hostDst, const std::byte *src, Index bytes) override;
  void copy(Queue, ConstView src, View dst) override;
  void embed(Queue, ConstView table, std::span<const std::int32_t> tokens, View out) override;
  void rope(Queue, View x, Index heads, Index firstPosition, std::span<const double> frequency) override;
  void add(Queue, ConstView a, ConstView b, View out) override;
  void addRow(Queue, View x, ConstView row) override;
  void subtract(Queue, ConstView a, ConstView b, View out) override;
  void scale(Queue, View x, float factor) override;
  std::int64_t takeSaturated() override { return m_saturated.exchange(0); }
  Instruments &instruments() override;

  /// Hears of every operation, on the thread that calls it.
  class Listener {
  public:
    virtual void begin(const Tag &tag, const char *kernel) = 0; ///< may throw: the operation then does not run
    virtual void end() noexcept = 0;

  protected:
    ~Listener() = default;
  };
  void setListener(Listener *listener) { m_listener = listener; } ///< null: nobody; kept by the caller
  /// The kernel's ids of the threads that compute: the caller's and the pool's.
  std::vector<int> threadIds();

protected:
  std::byte *allocateBytes(Index bytes, Purpose purpose, Placement placement) override;
  void releaseBytes(const Buffer &buffer) noexcept override;

  /// Stands at the top of every public operation: counts it and, while a sink is set, reports it with its duration.
  class Op {
  public:
    Op(HostBackend &backend, const char *kernel, double bytes, double flops);
    ~Op();
    Op(const Op &) = delete;
    Op &operator=(const Op &) = delete;

  private:
    HostBackend &m_backend;
    KernelRecord m_record;
  };

  /// fn(begin, end) for row tiles of fixed height, in parallel.
  template <typename Fn> void forRows(Index rows, Index tileRows, const Fn &fn) {
    m_pool.parallelFor((rows + tileRows - 1) / tileRows,
                       [&](Index tile) { fn(tile * tileRows, std::min(rows, (tile + 1) * tileRows)); });
  }
  void countSaturated(std::int64_t values) {
    if (values != 0) m_saturated += values;
  }

  ThreadPool m_pool;

private:
  Listener *m_listener = nullptr;
  std::atomic<std::int64_t> m_saturated{0};
};

std::int64_t steadyNowNs(); ///< of the clock that KernelRecord::startNs is of

/// Rows a tile of an element-wise loop takes: about 16k elements, by shape alone.
inline Index elementwiseTile(Index cols) { return std::max<Index>(1, 16384 / std::max<Index>(1, cols)); }

} // namespace xqs
