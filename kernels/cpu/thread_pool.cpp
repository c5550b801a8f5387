// SPDX-License-Identifier: Apache-2.0
#include "thread_pool.h"

#include "error.h"

#include <unistd.h>
#include <utility>

namespace xqs {

namespace {
// A transformer layer is a dozen loops of a few hundred microseconds: looking for the next one this long before sleeping
// saves most wake-ups, and is short enough (tens of microseconds) not to rob other processes of a core.
constexpr int kSpins = 1000;

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}
} // namespace

ThreadPool::ThreadPool(int threads) {
  const int wanted = threads > 0 ? threads : static_cast<int>(std::thread::hardware_concurrency());
  for (int i = 1; i < wanted; ++i) m_workers.emplace_back([this](const std::stop_token &stop) { workerLoop(stop); });
}

ThreadPool::~ThreadPool() {
  for (std::jthread &worker : m_workers) worker.request_stop();
  {
    const std::lock_guard lock(m_mutex); // a worker is either before its check of the stop token or asleep
    m_wake.notify_all();
  }
}

std::vector<int> ThreadPool::workerIds() {
  std::unique_lock lock(m_mutex);
  m_idle.wait(lock, [this] { return m_workerIds.size() == m_workers.size(); });
  return m_workerIds;
}

void ThreadPool::run(Index tiles, TileFn call, const void *fn) {
  {
    const std::lock_guard lock(m_mutex);
    XQS_ASSERT(!m_open);
    m_call = call;
    m_fn = fn;
    m_tiles = tiles;
    m_next = 0;
    m_error = nullptr;
    m_open = true;
    ++m_generation;
  }
  m_wake.notify_all();
  workOnTiles();
  std::unique_lock lock(m_mutex);
  m_open = false; // workers still asleep are not waited for
  lock.unlock();
  for (int spin = 0; spin < kSpins && m_active != 0; ++spin) pause();
  lock.lock();
  m_idle.wait(lock, [this] { return m_active == 0; });
  if (m_error) std::rethrow_exception(std::exchange(m_error, nullptr));
}

void ThreadPool::workOnTiles() {
  for (Index tile; (tile = m_next.fetch_add(1)) < m_tiles;) {
    try {
      m_call(m_fn, tile);
    } catch (...) {
      const std::lock_guard lock(m_mutex);
      if (!m_error) m_error = std::current_exception();
      m_next = m_tiles;
    }
  }
}

void ThreadPool::workerLoop(const std::stop_token &stop) {
  {
    const std::lock_guard lock(m_mutex);
    m_workerIds.push_back(static_cast<int>(gettid()));
    m_idle.notify_one();
  }
  std::uint64_t seen = 0;
  while (true) {
    for (int spin = 0; spin < kSpins && m_generation == seen && !stop.stop_requested(); ++spin) pause();
    std::unique_lock lock(m_mutex);
    m_wake.wait(lock, [&] { return m_generation != seen || stop.stop_requested(); });
    if (stop.stop_requested()) return;
    seen = m_generation;
    if (!m_open) continue;
    ++m_active;
    lock.unlock();
    workOnTiles();
    lock.lock();
    if (--m_active == 0) m_idle.notify_one();
  }
}

} // namespace xqs
