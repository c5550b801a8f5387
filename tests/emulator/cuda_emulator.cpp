// SPDX-License-Identifier: Apache-2.0
// Blocks run one after the other; the threads of a block are fibers that switch at barriers. See cuda_runtime.h.
#include "cuda_runtime.h"

#include "profiler_hooks.h"

#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

namespace xqs::emulator {
namespace {

namespace context = boost::context;
constexpr std::size_t kStackBytes = 128 * 1024, kSharedBytes = 227 * 1024;
constexpr int kLanes = 32;

struct AsyncCopy {
  void *to;
  const void *from;
  std::size_t bytes, used;
};

struct Thread {
  enum class State { Ready, AtBlock, AtWarp, Done } state = State::Ready;
  context::fiber fiber, caller;
  dim3 index{0, 0, 0};
  unsigned mask = 0; ///< of the warp barrier it waits at
  bool parity = false;
  std::vector<std::vector<AsyncCopy>> copies; ///< committed groups, then the open one
};

struct Warp {
  alignas(64) std::byte slots[2][kLanes * kSlotBytes];
};

struct Block {
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::size_t current = 0;
  Thread &thread() { return threads[current]; }
};

thread_local Block *s_block = nullptr;
alignas(128) thread_local std::byte s_shared[kSharedBytes];

[[noreturn]] void fail(const char *what) {
  std::fprintf(stderr, "CUDA emulator: %s (block %u %u %u of %u %u %u, %u threads)\n", what, blockIdx.x, blockIdx.y,
               blockIdx.z, gridDim.x, gridDim.y, gridDim.z, blockDim.x);
  std::abort();
}

void pause(Thread::State state) {
  Thread &t = s_block->thread();
  t.state = state;
  t.caller = std::move(t.caller).resume();
}

/// A warp barrier opens when every lane of its mask that still runs stands at it. Lanes [first, end) are one warp.
bool openWarp(Block &block, std::size_t first, std::size_t end) {
  bool any = false;
  for (std::size_t i = first; i < end; ++i) {
    if (block.threads[i].state != Thread::State::AtWarp) continue;
    const unsigned mask = block.threads[i].mask;
    bool complete = true;
    for (std::size_t j = first; j < end; ++j)
      if ((mask >> (j - first) & 1u) != 0) {
        const Thread &t = block.threads[j];
        complete &= t.state == Thread::State::Done || (t.state == Thread::State::AtWarp && t.mask == mask);
      }
    if (!complete) continue;
    for (std::size_t j = first; j < end; ++j)
      if ((mask >> (j - first) & 1u) != 0 && block.threads[j].state == Thread::State::AtWarp)
        block.threads[j].state = Thread::State::Ready, any = true;
  }
  return any;
}

bool openBlock(Block &block) {
  for (const Thread &t : block.threads)
    if (t.state != Thread::State::AtBlock && t.state != Thread::State::Done) return false;
  bool any = false;
  for (Thread &t : block.threads)
    if (t.state == Thread::State::AtBlock) t.state = Thread::State::Ready, any = true;
  return any;
}

/// Between two barriers the threads run in another order each time, so that a missing barrier shows.
std::size_t pick(std::size_t i, std::size_t count, std::uint64_t round) {
  switch (round % 3) {
  case 0: return i;
  case 1: return count - 1 - i;
  default: return (i + round * 7) % count;
  }
}

void runBlock(Block &block, const std::function<void()> &body) {
  static thread_local context::pooled_fixedsize_stack stacks(kStackBytes);
  s_block = &block;
  std::memset(s_shared, 0xff, sizeof s_shared);
  for (std::size_t i = 0; i < block.threads.size(); ++i) {
    Thread &t = block.threads[i];
    t.state = Thread::State::Ready, t.parity = false;
    t.copies.assign(1, {});
    t.fiber = context::fiber(std::allocator_arg, stacks, [&t, &body](context::fiber &&caller) {
      t.caller = std::move(caller);
      body();
      t.state = Thread::State::Done;
      return std::move(t.caller);
    });
  }
  // In every second block a warp runs on to the next barrier of the block before another one starts: what it reads of theirs
  // without a barrier in between is then not there yet. In the others the warps go from warp barrier to warp barrier
  // together.
  const bool ahead = (blockIdx.x + blockIdx.y + blockIdx.z) % 2 == 0;
  const std::size_t warps = block.warps.size();
  for (std::uint64_t round = 0;; ++round) {
    bool ran = false, left = false;
    for (std::size_t w = 0; w < warps; ++w) {
      const std::size_t first = pick(w, warps, round) * kLanes, end = std::min(first + kLanes, block.threads.size());
      do {
        for (std::size_t i = first; i < end; ++i) {
          block.current = first + pick(i - first, end - first, round);
          Thread &t = block.thread();
          left |= t.state != Thread::State::Done;
          if (t.state != Thread::State::Ready) continue;
          ran = true;
          threadIdx = t.index;
          t.fiber = std::move(t.fiber).resume();
        }
      } while (openWarp(block, first, end) && ahead);
    }
    if (!left) break;
    if (!openBlock(block) && !ran) fail("threads wait at different barriers");
  }
  for (const Thread &t : block.threads)
    for (const auto &group : t.copies)
      if (!group.empty()) fail("a thread ended with asynchronous copies that it never waited for");
  s_block = nullptr;
}

// Streams -----------------------------------------------------------------------------------------------------------------

struct Settings {
  std::size_t memory = setting("XQS_EMULATOR_MEMORY", std::size_t{8} << 30);
  long failAfter = static_cast<long>(setting("XQS_EMULATOR_FAIL_AFTER", 0)); ///< launches; 0 = never
  int driver = static_cast<int>(setting("XQS_EMULATOR_DRIVER", 13000));
  int devices = static_cast<int>(setting("XQS_EMULATOR_DEVICES", 1));
  bool noImage = setting("XQS_EMULATOR_NO_IMAGE", 0) != 0;
  bool wrong = setting("XQS_EMULATOR_WRONG", 0) != 0; ///< asynchronous copies bring zeros
  static std::size_t setting(const char *name, std::size_t otherwise) {
    const char *text = std::getenv(name);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
  }
};
const Settings &settings() {
  static const Settings s;
  return s;
}

long s_launches = 0;
cudaError_t s_sticky = cudaSuccess, s_last = cudaSuccess;
std::size_t s_used = 0;
constexpr std::size_t kHeader = 256; ///< before each allocation: its size

cudaError_t report(cudaError_t error) {
  if (s_sticky != cudaSuccess) error = s_sticky;
  if (error != cudaSuccess) s_last = error;
  return error;
}

struct Work {
  std::function<void()> run;
  Launch launch{}; ///< what a profiler knows of it
};

const ProfilerHooks *s_profiler = nullptr;
std::uint64_t s_lastNode = 0;

std::int64_t nowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
std::uint64_t makeNode() {
  const std::uint64_t node = ++s_lastNode;
  if (s_profiler != nullptr) s_profiler->created(node);
  return node;
}
std::uint32_t correlationOf(const Launch &launch) { return s_profiler != nullptr ? s_profiler->called(launch) : 0; }
void runNow(const Work &work) {
  const std::int64_t start = nowNs();
  work.run();
  if (s_profiler != nullptr && work.launch.correlation != 0) s_profiler->ran(work.launch, start, nowNs());
}

} // namespace
} // namespace xqs::emulator

using namespace xqs::emulator;

/// Indices of nodes that are waited for.
using Nodes = std::vector<std::size_t>;

struct CUgraph_st {
  struct Node {
    Work work;
    Nodes needs; ///< the stream's last node first
    /// The stream, by when it came to the capture, and how many nodes it had before.
    std::pair<std::size_t, std::size_t> place;
    std::uint64_t id = makeNode();
  };
  std::vector<Node> nodes; ///< in the order of the calls
  Nodes order;             ///< in which they run

  /// Every stream's order and every event holds; within that, what other streams bring to the one captured runs as late as
  /// possible, so that a missing join shows. False where `last` does not wait for every node.
  bool arrange(const Nodes &last) {
    std::vector<char> seen(nodes.size());
    const std::function<void(const Nodes &)> visit = [&](const Nodes &needs) {
      for (const std::size_t i : needs)
        if (std::exchange(seen[i], 1) == 0) visit(nodes[i].needs), order.push_back(i);
    };
    visit(last);
    return order.size() == nodes.size();
  }
};
struct CUgraphExec_st {
  CUgraph_st graph;
};
/// Lives from cudaStreamBeginCapture to cudaStreamEndCapture, and in events recorded in between.
struct Capture {
  std::vector<cudaStream_t> streams; ///< that belong to it, the one captured first; empty once it has ended
  CUgraph_st graph;
  bool valid = true;
  bool live() const { return !streams.empty(); }
  std::pair<std::size_t, std::size_t> nextPlace(cudaStream_t stream) const {
    const auto number = static_cast<std::size_t>(std::find(streams.begin(), streams.end(), stream) - streams.begin());
    const auto onStream = [=](const CUgraph_st::Node &node) { return node.place.first == number; };
    return {number, static_cast<std::size_t>(std::count_if(graph.nodes.begin(), graph.nodes.end(), onStream))};
  }
};
struct CUstream_st {
  std::deque<Work> work;
  std::shared_ptr<Capture> capture;
  Nodes last; ///< while it is captured: what its next node waits for
  bool running = false;
  /// Runs what is queued, in order, until `enough`.
  void drain(const std::function<bool()> &enough = [] { return false; }) {
    if (enough()) return;
    if (running) fail("streams wait for each other");
    running = true;
    while (!work.empty() && !enough()) {
      const Work w = std::move(work.front());
      work.pop_front();
      runNow(w);
    }
    running = false;
  }
  cudaError_t add(Work w) {
    if (w.launch.kind != Launch::None && w.launch.correlation == 0) w.launch.correlation = correlationOf(w.launch);
    if (capture == nullptr) {
      work.push_back(std::move(w));
      return report(cudaSuccess);
    }
    if (!capture->valid) return report(cudaErrorStreamCaptureInvalidated);
    auto &nodes = capture->graph.nodes;
    nodes.push_back({std::move(w), std::exchange(last, {nodes.size()}), capture->nextPlace(this)});
    return report(cudaSuccess);
  }
};
/// What an event stands for since it was last recorded; who waits for it does not see later records.
struct Record {
  cudaStream_t stream;
  std::shared_ptr<Capture> capture; ///< null: recorded outside of captures
  Nodes last;
  bool reached = false;
  void await() {
    if (!reached) stream->drain([this] { return reached; });
  }
};
struct CUevent_st {
  std::shared_ptr<Record> record;
  bool captured() const { return record != nullptr && record->capture != nullptr; }
};

namespace {

std::vector<cudaStream_t> &streams() {
  static std::vector<cudaStream_t> all;
  return all;
}
struct DefaultStream {
  DefaultStream() { streams().push_back(&stream); }
  CUstream_st stream;
};
/// NVIDIA's own libraries know nothing of these streams: none is looked for unless one is named.
[[maybe_unused]] const int s_noCublas = setenv("XQSCOPE_CUBLAS", "off", 0), s_noCupti = setenv("XQSCOPE_CUPTI", "off", 0);

cudaStream_t get(cudaStream_t stream) {
  static DefaultStream fallback;
  return stream != nullptr ? stream : &fallback.stream;
}
/// A call that a capture does not allow breaks it.
cudaError_t refuse(Capture &capture, cudaError_t error) {
  if (!capture.valid) return report(cudaErrorStreamCaptureInvalidated);
  capture.valid = false;
  return report(error);
}
Capture *liveCapture() {
  for (cudaStream_t s : streams())
    if (s->capture != nullptr) return s->capture.get();
  return nullptr;
}

struct Allocation {
  const std::byte *data;
  std::size_t bytes;
  bool host;
};
std::vector<Allocation> &allocations() {
  static std::vector<Allocation> all;
  return all;
}
const Allocation *find(const void *data) {
  const auto *at = static_cast<const std::byte *>(data);
  for (const Allocation &a : allocations())
    if (at >= a.data && at < a.data + a.bytes) return &a;
  return nullptr;
}
bool pinned(const void *data) {
  const Allocation *a = find(data);
  return a != nullptr;
}
Launch copyOf(const void *to, const void *from, std::size_t bytes) {
  const auto onDevice = [](const void *data) { return pinned(data) && !find(data)->host; };
  constexpr int kHtoD = 1, kDtoH = 2, kDtoD = 8, kHtoH = 9;
  const int kind = onDevice(to) ? (onDevice(from) ? kDtoD : kHtoD) : (onDevice(from) ? kDtoH : kHtoH);
  return {Launch::Copy, nullptr, kind, bytes};
}

void *take(std::size_t bytes, bool host) {
  auto *data = static_cast<std::byte *>(std::aligned_alloc(256, (bytes + 511) / 256 * 256));
  if (data == nullptr) return nullptr;
  std::memset(data, 0xff, bytes); // NaN in every format
  allocations().push_back({data, bytes, host});
  return data;
}
/// What a capture may still use is poisoned and never handed out again.
void give(void *data) {
  struct Free {
    void operator()(void *memory) const { std::free(memory); }
  };
  static std::vector<std::unique_ptr<void, Free>> kept;
  auto &all = allocations();
  for (std::size_t i = 0; i < all.size(); ++i)
    if (all[i].data == data) {
      if (!all[i].host) s_used -= all[i].bytes;
      std::memset(data, 0xff, all[i].bytes);
      all[i] = all.back();
      all.pop_back();
      if (liveCapture() != nullptr)
        kept.emplace_back(data);
      else
        std::free(data);
      return;
    }
  fail("memory is freed that was not allocated");
}

} // namespace

namespace xqs::emulator {

void blockBarrier() { pause(Thread::State::AtBlock); }
void warpBarrier(unsigned mask) {
  s_block->thread().mask = mask;
  pause(Thread::State::AtWarp);
}
const std::byte *exchange(unsigned mask, const void *value, std::size_t bytes) {
  Thread &t = s_block->thread();
  const std::size_t at = s_block->current;
  const unsigned count =
      static_cast<unsigned>(std::min<std::size_t>(kLanes, s_block->threads.size() - at / kLanes * kLanes));
  if (count < kLanes) mask &= (1u << count) - 1u;
  std::byte *slots = s_block->warps[at / kLanes].slots[t.parity ? 1 : 0];
  t.parity = !t.parity;
  std::memcpy(slots + at % kLanes * kSlotBytes, value, bytes);
  warpBarrier(mask);
  return slots;
}
std::byte *dynamicShared() { return s_shared; }

void copyAsync(void *to, const void *from, std::size_t bytes, std::size_t used) {
  s_block->thread().copies.back().push_back({to, from, bytes, used});
}
void commitCopies() { s_block->thread().copies.emplace_back(); }
void waitCopies(int groupsLeft) {
  auto &groups = s_block->thread().copies;
  while (static_cast<int>(groups.size()) - 1 > groupsLeft) {
    for (const AsyncCopy &c : groups.front()) {
      std::memset(c.to, 0, c.bytes);
      if (!settings().wrong) std::memcpy(c.to, c.from, c.used);
    }
    groups.erase(groups.begin());
  }
}

cudaError_t kernelStatus() { return settings().noImage ? report(cudaErrorNoKernelImageForDevice) : cudaSuccess; }

cudaError_t launchGrid(const cudaLaunchConfig_t &c, const void *kernel, std::function<void()> thread) {
  const std::size_t threads = std::size_t{c.blockDim.x} * c.blockDim.y * c.blockDim.z;
  if (threads == 0 || threads > 1024 || c.gridDim.x == 0 || c.gridDim.y == 0 || c.gridDim.z == 0 || c.gridDim.y > 65535 ||
      c.gridDim.z > 65535 || c.dynamicSmemBytes > kSharedBytes)
    return report(cudaErrorInvalidConfiguration);
  const dim3 grid = c.gridDim, size = c.blockDim;
  return get(c.stream)->add({[=, body = std::move(thread)] {
                               if (settings().failAfter > 0 && ++s_launches > settings().failAfter)
                                 s_sticky = cudaErrorIllegalAddress;
                               if (s_sticky != cudaSuccess) return;
                               Block block;
                               block.threads.resize(threads);
                               block.warps.resize((threads + kLanes - 1) / kLanes);
                               for (unsigned i = 0; i < threads; ++i)
                                 block.threads[i].index = {i % size.x, i / size.x % size.y, i / size.x / size.y};
                               blockDim = size, gridDim = grid;
                               for (unsigned z = 0; z < grid.z; ++z)
                                 for (unsigned y = 0; y < grid.y; ++y)
                                   for (unsigned x = 0; x < grid.x; ++x) {
                                     blockIdx = {x, y, z};
                                     runBlock(block, body);
                                   }
                             },
                             {Launch::Kernel, kernel, 0, 16 * threads * grid.x * grid.y * grid.z}});
}

} // namespace xqs::emulator

cudaError_t cudaGetDeviceCount(int *count) {
  *count = settings().devices;
  if (settings().driver < CUDART_VERSION) return report(cudaErrorInsufficientDriver);
  return settings().devices == 0 ? report(cudaErrorNoDevice) : report(cudaSuccess);
}
cudaError_t cudaSetDevice(int) { return report(cudaSuccess); }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int) {
  *p = {};
  std::snprintf(p->name, sizeof p->name, "emulated device");
  p->major = 9, p->multiProcessorCount = 4, p->totalGlobalMem = settings().memory;
  return report(cudaSuccess);
}
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
  case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
  case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
  case cudaDevAttrMultiProcessorCount: *value = 4; break;
  case cudaDevAttrL2CacheSize: *value = 1 << 16; break;
  case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = kSharedBytes; break;
  }
  return report(cudaSuccess);
}
cudaError_t cudaDriverGetVersion(int *version) {
  *version = settings().driver;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
/// There is one context, which is nothing but an address.
cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult *result) {
  using GetCurrent = int (*)(void **);
  const GetCurrent getCurrent = [](void **context) {
    static int s_context;
    *context = &s_context;
    return 0;
  };
  const bool known = std::strcmp(symbol, "cuCtxGetCurrent") == 0;
  *function = known ? reinterpret_cast<void *>(getCurrent) : nullptr;
  *result = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return report(cudaSuccess);
}
cudaError_t cudaDeviceSynchronize() {
  if (Capture *capture = liveCapture()) return refuse(*capture, cudaErrorStreamCaptureUnsupported);
  for (cudaStream_t s : streams()) s->drain();
  return report(cudaSuccess);
}
cudaError_t cudaGetLastError() {
  const cudaError_t error = s_last;
  s_last = s_sticky;
  return error;
}
const char *cudaGetErrorString(cudaError_t error) {
  switch (error) {
  case cudaSuccess: return "no error";
  case cudaErrorMemoryAllocation: return "out of memory";
  case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
  case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
  default: return "emulated error";
  }
}
const char *cudaGetErrorName(cudaError_t error) {
  switch (error) {
  case cudaSuccess: return "cudaSuccess";
  case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
  case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
  case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
  case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
  case cudaErrorStreamCaptureMerge: return "cudaErrorStreamCaptureMerge";
  case cudaErrorStreamCaptureUnmatched: return "cudaErrorStreamCaptureUnmatched";
  case cudaErrorStreamCaptureUnjoined: return "cudaErrorStreamCaptureUnjoined";
  case cudaErrorStreamCaptureIsolation: return "cudaErrorStreamCaptureIsolation";
  case cudaErrorCapturedEvent: return "cudaErrorCapturedEvent";
  default: return "cudaErrorEmulated";
  }
}
cudaError_t cudaMemGetInfo(std::size_t *free, std::size_t *total) {
  *total = settings().memory;
  *free = *total - s_used;
  return report(cudaSuccess);
}
cudaError_t cudaMalloc(void **data, std::size_t bytes) {
  if (bytes > settings().memory - s_used) return report(cudaErrorMemoryAllocation);
  *data = take(bytes, false);
  if (*data == nullptr) return report(cudaErrorMemoryAllocation);
  s_used += bytes;
  return report(cudaSuccess);
}
cudaError_t cudaFree(void *data) {
  if (data == nullptr) return report(cudaSuccess);
  if (liveCapture() == nullptr) cudaDeviceSynchronize();
  give(data);
  return report(cudaSuccess);
}
cudaError_t cudaHostAlloc(void **data, std::size_t bytes, unsigned) {
  *data = take(bytes, true);
  return report(*data != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void *data) {
  if (liveCapture() == nullptr) cudaDeviceSynchronize();
  give(data);
  return report(cudaSuccess);
}
cudaError_t cudaMemcpy(void *to, const void *from, std::size_t bytes, cudaMemcpyKind) {
  get(nullptr)->add({[=] { std::memcpy(to, from, bytes); }, copyOf(to, from, bytes)});
  get(nullptr)->drain();
  return report(cudaSuccess);
}
/// Pageable memory is read when the call is made, as the driver stages it; other memory when the stream gets there.
cudaError_t cudaMemcpyAsync(void *to, const void *from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if ((kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDefault) && !pinned(from)) {
    if (get(stream)->capture != nullptr) return refuse(*get(stream)->capture, cudaErrorStreamCaptureUnsupported);
    std::vector<std::byte> staged(bytes);
    std::memcpy(staged.data(), from, bytes);
    return get(stream)->add(
        {[to, staged = std::move(staged)] { std::memcpy(to, staged.data(), staged.size()); }, copyOf(to, from, bytes)});
  }
  return get(stream)->add({[=] { std::memcpy(to, from, bytes); }, copyOf(to, from, bytes)});
}
cudaError_t cudaMemcpy2DAsync(void *to, std::size_t toPitch, const void *from, std::size_t fromPitch, std::size_t width,
                              std::size_t height, cudaMemcpyKind, cudaStream_t stream) {
  if (width > toPitch || width > fromPitch) return report(cudaErrorInvalidValue);
  return get(stream)->add({[=] {
                             for (std::size_t r = 0; r < height; ++r)
                               std::memcpy(static_cast<std::byte *>(to) + r * toPitch,
                                           static_cast<const std::byte *>(from) + r * fromPitch, width);
                           },
                           copyOf(to, from, width * height)});
}
cudaError_t cudaMemsetAsync(void *data, int value, std::size_t bytes, cudaStream_t stream) {
  return get(stream)->add({[=] { std::memset(data, value, bytes); }, {Launch::Fill, nullptr, 0, bytes}});
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) {
  *stream = new CUstream_st;
  streams().push_back(*stream);
  return report(cudaSuccess);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (stream->capture != nullptr) {
    stream->capture->valid = false;
    std::erase(stream->capture->streams, stream);
  }
  stream->drain();
  std::erase(streams(), stream);
  delete stream;
  return report(cudaSuccess);
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (get(stream)->capture != nullptr) return refuse(*get(stream)->capture, cudaErrorStreamCaptureUnsupported);
  get(stream)->drain();
  return report(cudaSuccess);
}
/// A stream that waits for an event of a capture belongs to it from then on.
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  CUstream_st &s = *get(stream);
  const std::shared_ptr<Record> record = event->record;
  if (!event->captured()) {
    if (s.capture != nullptr) return refuse(*s.capture, cudaErrorStreamCaptureIsolation);
    return record == nullptr ? report(cudaSuccess) : s.add({[record] { record->await(); }});
  }
  Capture &capture = *record->capture;
  if (!capture.live()) {
    if (s.capture != nullptr) return refuse(*s.capture, cudaErrorStreamCaptureIsolation);
    return report(cudaErrorCapturedEvent);
  }
  if (!capture.valid) return report(cudaErrorStreamCaptureInvalidated);
  if (s.capture != nullptr && s.capture != record->capture) {
    capture.valid = false;
    return refuse(*s.capture, cudaErrorStreamCaptureMerge);
  }
  if (s.capture == nullptr) {
    s.capture = record->capture;
    capture.streams.push_back(&s);
  }
  s.last.insert(s.last.end(), record->last.begin(), record->last.end());
  return report(cudaSuccess);
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
  *event = new CUevent_st;
  return report(cudaSuccess);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return report(cudaSuccess);
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  CUstream_st &s = *get(stream);
  if (s.capture != nullptr && !s.capture->valid) return report(cudaErrorStreamCaptureInvalidated);
  event->record = std::make_shared<Record>(Record{&s, s.capture, s.last});
  return s.capture != nullptr ? report(cudaSuccess) : s.add({[record = event->record] { record->reached = true; }});
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event->captured()) {
    Capture &capture = *event->record->capture;
    return capture.live() ? refuse(capture, cudaErrorCapturedEvent) : report(cudaErrorCapturedEvent);
  }
  if (event->record != nullptr) event->record->await();
  return report(cudaSuccess);
}
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end) {
  if (start->captured() || end->captured()) return report(cudaErrorCapturedEvent);
  *milliseconds = 1;
  return report(cudaSuccess);
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, void (*function)(void *), void *data) {
  return get(stream)->add({[=] { function(data); }});
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream->capture != nullptr) return report(cudaErrorIllegalState);
  stream->capture = std::make_shared<Capture>();
  stream->capture->streams = {stream};
  return report(cudaSuccess);
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
  *graph = nullptr;
  const std::shared_ptr<Capture> capture = stream->capture;
  if (capture == nullptr) return report(cudaErrorIllegalState);
  if (capture->streams.front() != stream) return refuse(*capture, cudaErrorStreamCaptureUnmatched);
  const Nodes last = stream->last;
  for (cudaStream_t s : std::exchange(capture->streams, {})) s->capture = nullptr, s->last.clear();
  if (!capture->valid) return report(cudaErrorStreamCaptureInvalidated);
  if (!capture->graph.arrange(last)) return report(cudaErrorStreamCaptureUnjoined);
  *graph = new CUgraph_st(std::move(capture->graph));
  return report(cudaSuccess);
}
/// The executable's nodes are others than the graph's, made and then said to be their clones.
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long) {
  *exec = new CUgraphExec_st{*graph};
  for (CUgraph_st::Node &node : (*exec)->graph.nodes) {
    const std::uint64_t original = std::exchange(node.id, makeNode());
    if (s_profiler != nullptr) s_profiler->cloned(node.id, original);
  }
  return report(cudaSuccess);
}
/// Nodes are paired stream by stream, whatever the order of calls between streams. Arguments may change, kernels and what
/// they wait for may not; the executable's nodes remain.
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph, cudaGraphExecUpdateResultInfo *info) {
  const auto &before = exec->graph.nodes;
  CUgraph_st updated = *graph;
  Nodes pair;
  bool same = before.size() == updated.nodes.size();
  for (std::size_t i = 0; same && i < updated.nodes.size(); ++i) {
    CUgraph_st::Node &node = updated.nodes[i];
    const auto at = std::find_if(before.begin(), before.end(), [&](const auto &n) { return n.place == node.place; });
    same = at != before.end() && at->work.launch.kernel == node.work.launch.kernel;
    if (!same) break;
    Nodes needs;
    for (const std::size_t need : node.needs) needs.push_back(pair[need]);
    same = needs == at->needs;
    node.id = at->id;
    pair.push_back(static_cast<std::size_t>(at - before.begin()));
  }
  info->result = same ? cudaGraphExecUpdateSuccess : cudaGraphExecUpdateError;
  if (!same) return report(cudaErrorGraphExecUpdateFailure);
  exec->graph = std::move(updated);
  return report(cudaSuccess);
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  const std::uint32_t correlation = correlationOf({});
  for (const std::size_t i : exec->graph.order) {
    const CUgraph_st::Node &node = exec->graph.nodes[i];
    Work work = node.work;
    work.launch.correlation = correlation, work.launch.node = node.id;
    if (const cudaError_t error = get(stream)->add(std::move(work)); error != cudaSuccess) return error;
  }
  return report(cudaSuccess);
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return report(cudaSuccess);
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return report(cudaSuccess);
}

extern "C" __attribute__((visibility("default"))) int xqsEmulatorLibraryKernel(void *stream, void (*function)(void *),
                                                                               void *data) {
  Launch launch{Launch::Kernel, reinterpret_cast<const void *>(function)};
  launch.byDriver = true;
  return get(static_cast<cudaStream_t>(stream))->add({[=] { function(data); }, launch});
}
extern "C" __attribute__((visibility("default"))) void xqsEmulatorProfile(const ProfilerHooks *hooks) { s_profiler = hooks; }
