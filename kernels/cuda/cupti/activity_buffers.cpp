// SPDX-License-Identifier: Apache-2.0
#include "activity_buffers.h"

#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace xqs::cuda::cupti {
namespace {

using Block = std::unique_ptr<std::uint8_t[]>; // operator new aligns to 16; CUPTI asks for 8

struct Full {
  Block block;
  std::size_t bytes = 0;
};

struct Shared {
  std::mutex mutex;
  bool claimed = false;
  std::vector<Block> idle;
  std::vector<Full> full;
  std::size_t out = 0; ///< blocks that CUPTI writes to, or that wait to be read

  std::uint8_t *lend() noexcept try {
    if (out == ActivityBuffers::kMost) return nullptr;
    if (idle.empty()) idle.emplace_back(new std::uint8_t[ActivityBuffers::kBytes]);
    std::uint8_t *const buffer = idle.back().release();
    idle.pop_back();
    ++out;
    return buffer;
  } catch (const std::bad_alloc &) {
    return nullptr;
  }
  void takeBack(Block block) noexcept {
    --out;
    if (claimed) idle.push_back(std::move(block)); // kMost are reserved
  }
};

/// Never destroyed: CUPTI may call back while the program ends.
Shared &shared() {
  static Shared &s = *new Shared;
  return s;
}

void CUPTIAPI request(std::uint8_t **buffer, std::size_t *bytes, std::size_t *mostRecords) {
  const std::lock_guard lock(shared().mutex);
  *buffer = shared().lend();
  *bytes = *buffer != nullptr ? ActivityBuffers::kBytes : 0;
  *mostRecords = 0; // as many as fit
}

void CUPTIAPI complete(CUcontext, std::uint32_t, std::uint8_t *buffer, std::size_t, std::size_t bytes) {
  if (buffer == nullptr) return;
  const std::lock_guard lock(shared().mutex);
  if (shared().claimed && bytes > 0)
    shared().full.push_back({Block(buffer), bytes});
  else
    shared().takeBack(Block(buffer));
}

} // namespace

ActivityBuffers::Claim::Claim() {
  const std::lock_guard lock(shared().mutex);
  if (shared().claimed)
    throw Failure({InstrumentState::InUse, "another timeline is being recorded in this process: end it first"});
  shared().idle.reserve(kMost), shared().full.reserve(kMost);
  shared().claimed = true;
}

ActivityBuffers::Claim::~Claim() {
  const std::lock_guard lock(shared().mutex);
  shared().claimed = false;
  shared().idle.clear();
  shared().out -= shared().full.size();
  shared().full.clear();
}

ActivityBuffers::ActivityBuffers(const Library &cupti) {
  cupti.call(cupti.cuptiActivityRegisterCallbacks, request, complete);
}

void ActivityBuffers::readAll(const Read &read) {
  std::unique_lock lock(shared().mutex);
  std::vector<Full> &full = shared().full;
  while (!full.empty()) {
    Full next = std::move(full.front());
    full.erase(full.begin());
    lock.unlock();
    read(next.block.get(), next.bytes);
    lock.lock();
    shared().takeBack(std::move(next.block));
  }
}

} // namespace xqs::cuda::cupti
