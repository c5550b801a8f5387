// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tensor.h"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace xqs {

/// Threads that share the tiles of one loop at a time. The calling thread works too, so a pool of one has no thread of its
/// own. Which thread runs a tile is not defined; callers cut tiles by shape alone, so that results are the same bit for bit
/// for any number of threads. One thread at a time may call parallelFor, and not from inside a tile.
class ThreadPool {
public:
  explicit ThreadPool(int threads); ///< <= 0: one a core this process may use
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int threads() const { return static_cast<int>(m_workers.size()) + 1; }
  std::vector<int> workerIds(); ///< as the kernel knows its threads; the caller is none of them

  /// Calls fn(tile) once for every tile in [0, tiles), in ascending order of start. The first exception thrown by a tile
  /// stops the tiles that have not started and is rethrown here.
  template <typename Fn> void parallelFor(Index tiles, const Fn &fn) {
    if (tiles <= 1 || m_workers.empty()) {
      for (Index tile = 0; tile < tiles; ++tile) fn(tile);
      return;
    }
    run(
        tiles, [](const void *f, Index tile) { (*static_cast<const Fn *>(f))(tile); }, &fn);
  }

private:
  using TileFn = void (*)(const void *fn, Index tile);
  void run(Index tiles, TileFn call, const void *fn);
  void workerLoop(const std::stop_token &stop);
  void workOnTiles();

  std::mutex m_mutex; ///< guards m_open, m_error, m_workerIds, changes of m_active and the job while it is closed
  std::condition_variable m_wake, m_idle;
  bool m_open = false;          ///< workers may join the current job
  std::atomic<int> m_active{0}; ///< workers inside the current job
  std::exception_ptr m_error;
  TileFn m_call = nullptr;
  const void *m_fn = nullptr;
  Index m_tiles = 0;
  std::atomic<Index> m_next{0};
  std::atomic<std::uint64_t> m_generation{0}; ///< number of jobs so far: what idle workers watch
  std::vector<int> m_workerIds;               ///< of those that have started
  std::vector<std::jthread> m_workers;        ///< last member: joined before the rest goes
};

} // namespace xqs
