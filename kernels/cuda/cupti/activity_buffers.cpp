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

struct Shared {
  std::mutex mutex; ///< callbacks come from several threads
  ActivityBuffers::Receive receive;
  std::vector<Block> idle;
  std::size_t lent = 0; ///< to CUPTI

  std::uint8_t *lend() noexcept try {
    if (lent == ActivityBuffers::kMost) return nullptr;
    if (idle.empty()) idle.emplace_back(new std::uint8_t[ActivityBuffers::kBytes]);
    std::uint8_t *const buffer = idle.back().release();
    idle.pop_back();
    ++lent;
    return buffer;
  } catch (const std::bad_alloc &) {
    return nullptr;
  }
  void takeBack(std::uint8_t *buffer) noexcept {
    Block block(buffer);
    --lent;
    if (receive && idle.size() < idle.capacity()) idle.push_back(std::move(block));
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
  if (bytes > 0 && shared().receive) shared().receive(buffer, bytes);
  shared().takeBack(buffer);
}

} // namespace

ActivityBuffers::ActivityBuffers(const Library &cupti, Receive receive) : ActivityBuffers(std::move(receive)) {
  cupti.call(cupti.cuptiActivityRegisterCallbacks, request, complete);
}

ActivityBuffers::ActivityBuffers(Receive receive) {
  const std::lock_guard lock(shared().mutex);
  if (shared().receive)
    throw Failure({InstrumentState::InUse, "another timeline is being recorded in this process: end it first"});
  shared().idle.reserve(kMost);
  shared().receive = std::move(receive);
}

ActivityBuffers::~ActivityBuffers() {
  const std::lock_guard lock(shared().mutex);
  shared().receive = {};
  shared().idle.clear();
}

} // namespace xqs::cuda::cupti
