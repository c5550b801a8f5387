// SPDX-License-Identifier: Apache-2.0
// The activity and callback part of the fake CUPTI: records of what the emulator runs, in buffers of the program, and
// callbacks where nodes of graphs are made.
#include "fake_cupti.h"
#include "profiler_hooks.h"

#include "kernels/cuda/activity_buffer.h"

#include <cupti_activity.h>
#include <cupti_driver_cbid.h>

#include <dlfcn.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>

namespace xqs::fake {

/// Another epoch than the steady clock's, and 100 ppm faster.
std::uint64_t cuptiTime(std::int64_t steadyNs) {
  return std::uint64_t{1'700'000'000'000'000'000} + static_cast<std::uint64_t>(steadyNs + steadyNs / 10'000);
}

namespace {

struct Subscriber {
  CUpti_CallbackFunc callback = nullptr;
  void *user = nullptr;
  std::set<std::pair<CUpti_CallbackDomain, CUpti_CallbackId>> enabled;
};

/// What is written so far goes to the program outside of the lock: it calls back.
struct Activity {
  std::mutex mutex;
  CUpti_BuffersCallbackRequestFunc request = nullptr;
  CUpti_BuffersCallbackCompleteFunc complete = nullptr;
  std::set<CUpti_ActivityKind> enabled;
  std::vector<std::uint64_t> external; ///< ids that are pushed: the emulator's programs launch from one thread
  std::uint32_t correlation = 0;
  std::size_t dropped = 0;
  std::uint8_t *buffer = nullptr;
  std::size_t bytes = 0, used = 0;
  std::map<const void *, std::string> kernels; ///< names

  const char *nameOf(const void *kernel) {
    return kernels.try_emplace(kernel, "kernel_" + std::to_string(kernels.size() + 1)).first->second.c_str();
  }
};

Subscriber s_subscriber;
Activity &activity() {
  static Activity &a = *new Activity; // flushed by threads until the program ends
  return a;
}

void flush() {
  Activity &a = activity();
  std::unique_lock lock(a.mutex);
  std::uint8_t *const buffer = std::exchange(a.buffer, nullptr);
  const std::size_t bytes = a.bytes, used = a.used;
  lock.unlock();
  if (buffer != nullptr) a.complete(nullptr, 0, buffer, bytes, used);
}

/// No record of launches comes, and nothing tells.
bool silent() { return setting("XQS_FAKE_CUPTI_SILENT") == "1" || s_sampled; }

template <typename Record> void write(const Record &record) {
  Activity &a = activity();
  std::unique_lock lock(a.mutex);
  if (!a.enabled.contains(record.kind)) return;
  if (a.buffer != nullptr && a.used + sizeof record > a.bytes) {
    lock.unlock(), flush(), lock.lock();
  }
  if (a.buffer == nullptr) {
    std::size_t most = 0;
    a.used = 0;
    a.request(&a.buffer, &a.bytes, &most);
  }
  if (a.buffer == nullptr) return ++a.dropped, void();
  std::memcpy(a.buffer + a.used, &record, sizeof record);
  a.used += sizeof record;
}

// What the emulator tells --------------------------------------------------------------------------------------------------

std::int64_t steadyNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Of kernels a subscriber to the driver's calls hears, too. A call of the runtime is one of the driver inside, with the
/// same id: the inner one ends first. An external id's record comes before the call's, of a kind that is enabled.
std::uint32_t called(const emulator::Launch &launch) {
  Activity &a = activity();
  if (launch.kind == emulator::Launch::Kernel) {
    CUpti_CallbackData call{};
    call.callbackSite = CUPTI_API_ENTER;
    call.symbolName = a.nameOf(launch.kernel);
    tellSubscriber(CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuLaunchKernelEx, &call);
  }
  std::unique_lock lock(a.mutex);
  const std::uint32_t correlation = ++a.correlation;
  const bool runtime = a.enabled.contains(CUPTI_ACTIVITY_KIND_RUNTIME) && !launch.byDriver;
  const bool driver = a.enabled.contains(CUPTI_ACTIVITY_KIND_DRIVER), pushed = !a.external.empty();
  const std::uint64_t id = pushed ? a.external.back() : 0;
  lock.unlock();
  const std::uint64_t now = cuptiTime(steadyNs());
  for (const auto &[enabled, kind] :
       {std::pair(driver, CUPTI_ACTIVITY_KIND_DRIVER), std::pair(runtime, CUPTI_ACTIVITY_KIND_RUNTIME)}) {
    if (!enabled) continue;
    if (pushed) write(test::externalRecord(id, correlation));
    write(test::callRecord(now, now + 1, correlation, kind));
  }
  return correlation;
}

void ran(const emulator::Launch &launch, std::int64_t startNs, std::int64_t endNs) {
  counted(launch, startNs, endNs);
  if (silent()) return;
  const std::uint64_t start = cuptiTime(startNs), end = cuptiTime(endNs);
  switch (launch.kind) {
  case emulator::Launch::Kernel: {
    const char *const name = activity().nameOf(launch.kernel);
    return write(test::kernelRecord(name, start, end, launch.correlation, launch.node));
  }
  case emulator::Launch::Copy: {
    auto record = test::copyRecord(static_cast<CUpti_ActivityMemcpyKind>(launch.copyKind), start, end, launch.correlation,
                                   launch.node);
    record.bytes = launch.bytes;
    return write(record);
  }
  case emulator::Launch::Fill: {
    auto record = test::fillRecord(start, end, launch.correlation, launch.node);
    record.bytes = launch.bytes;
    return write(record);
  }
  case emulator::Launch::None: return;
  }
}

void onNode(CUpti_CallbackIdResource id, std::uint64_t node, std::uint64_t original) {
  CUpti_GraphData graph{};
  graph.node = reinterpret_cast<CUgraphNode>(node), graph.originalNode = reinterpret_cast<CUgraphNode>(original);
  CUpti_ResourceData resource{};
  resource.resourceDescriptor = &graph;
  tellSubscriber(CUPTI_CB_DOMAIN_RESOURCE, id, &resource);
}
void created(std::uint64_t node) { onNode(CUPTI_CBID_RESOURCE_GRAPHNODE_CREATED, node, 0); }
void cloned(std::uint64_t node, std::uint64_t original) { onNode(CUPTI_CBID_RESOURCE_GRAPHNODE_CLONED, node, original); }

} // namespace

/// The emulator is in the process already, where there is one.
void listen() {
  static constexpr emulator::ProfilerHooks kHooks = {called, ran, created, cloned};
  void *const module = dlopen(XQS_EMULATED_MODULE, RTLD_NOW | RTLD_NOLOAD);
  if (module == nullptr) return;
  reinterpret_cast<emulator::SetProfiler>(dlsym(module, "xqsEmulatorProfile"))(&kHooks);
}

void tellSubscriber(CUpti_CallbackDomain domain, CUpti_CallbackId id, const void *data) {
  if (s_subscriber.callback != nullptr && s_subscriber.enabled.contains({domain, id}))
    s_subscriber.callback(s_subscriber.user, domain, id, data);
}

} // namespace xqs::fake

using namespace xqs;
using namespace xqs::fake;

#define ANSWER()                                                                                                            \
  if (const CUptiResult answer = answerOf(__func__); answer != CUPTI_SUCCESS) return answer

extern "C" {
CUptiResult cuptiGetTimestamp(std::uint64_t *timestamp) {
  ANSWER();
  *timestamp = cuptiTime(steadyNs());
  return CUPTI_SUCCESS;
}
CUptiResult cuptiSubscribe(CUpti_SubscriberHandle *subscriber, CUpti_CallbackFunc callback, void *user) {
  ANSWER();
  if (s_subscriber.callback != nullptr) return CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED;
  s_subscriber = {callback, user, {}};
  *subscriber = reinterpret_cast<CUpti_SubscriberHandle>(&s_subscriber);
  listen();
  return CUPTI_SUCCESS;
}
CUptiResult cuptiUnsubscribe(CUpti_SubscriberHandle) {
  s_subscriber = {};
  return answerOf(__func__);
}
CUptiResult cuptiEnableCallback(std::uint32_t enable, CUpti_SubscriberHandle, CUpti_CallbackDomain domain,
                                CUpti_CallbackId id) {
  ANSWER();
  if (enable != 0)
    s_subscriber.enabled.insert({domain, id});
  else
    s_subscriber.enabled.erase({domain, id});
  return CUPTI_SUCCESS;
}
CUptiResult cuptiGetGraphNodeId(CUgraphNode node, std::uint64_t *id) {
  ANSWER();
  *id = reinterpret_cast<std::uint64_t>(node);
  return CUPTI_SUCCESS;
}
CUptiResult cuptiActivityRegisterCallbacks(CUpti_BuffersCallbackRequestFunc request,
                                           CUpti_BuffersCallbackCompleteFunc complete) {
  ANSWER();
  const std::lock_guard lock(activity().mutex);
  activity().request = request, activity().complete = complete;
  return CUPTI_SUCCESS;
}
CUptiResult cuptiActivityEnable(CUpti_ActivityKind kind) {
  ANSWER();
  if (test::recordBytes(kind) == 0) return CUPTI_ERROR_NOT_COMPATIBLE; // would change how kernels run
  const std::lock_guard lock(activity().mutex);
  activity().enabled.insert(kind);
  listen();
  return CUPTI_SUCCESS;
}
CUptiResult cuptiActivityDisable(CUpti_ActivityKind kind) {
  const std::lock_guard lock(activity().mutex);
  activity().enabled.erase(kind);
  return answerOf(__func__);
}
CUptiResult cuptiActivityFlushAll(std::uint32_t) {
  flush();
  return answerOf(__func__);
}
CUptiResult cuptiActivityGetNextRecord(std::uint8_t *buffer, std::size_t bytes, CUpti_Activity **record) {
  ANSWER();
  return test::nextRecord(buffer, bytes, record);
}
CUptiResult cuptiActivityGetNumDroppedRecords(CUcontext, std::uint32_t, std::size_t *dropped) {
  ANSWER();
  const std::lock_guard lock(activity().mutex);
  *dropped = std::exchange(activity().dropped, 0);
  return CUPTI_SUCCESS;
}
CUptiResult cuptiActivityPushExternalCorrelationId(CUpti_ExternalCorrelationKind, std::uint64_t id) {
  ANSWER();
  const std::lock_guard lock(activity().mutex);
  activity().external.push_back(id);
  return CUPTI_SUCCESS;
}
CUptiResult cuptiActivityPopExternalCorrelationId(CUpti_ExternalCorrelationKind, std::uint64_t *last) {
  const std::lock_guard lock(activity().mutex);
  auto &external = activity().external;
  if (external.empty()) return CUPTI_ERROR_QUEUE_EMPTY;
  if (last != nullptr) *last = external.back();
  external.pop_back();
  return answerOf(__func__);
}
}
