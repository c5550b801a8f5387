// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "activity_buffer.h"

#include "cupti/library.h"

#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <string>

namespace xqs::test {

/// CUPTI's activity functions as a test wants them: it says which call fails, which nodes are made and which buffers are
/// ready, and reads what was called. One at a time; the functions of counters must not be called.
class ScriptedCupti {
public:
  ScriptedCupti() { s_current = this; }
  ~ScriptedCupti() { s_current = nullptr; }

  /// The call with this name gives this result, from now on.
  void fail(const std::string &call, CUptiResult result) { m_failing = call, m_failure = result; }

  std::vector<ActivityBuffer> ready; ///< delivered by the last flush
  std::size_t dropped = 0;           ///< said once
  std::int64_t offsetNs = 0;         ///< of CUPTI's clock from the steady one
  std::vector<std::uint64_t> pushed; ///< external ids that are open
  std::vector<std::uint64_t> allPushed;
  std::set<CUpti_ActivityKind> enabled;
  std::set<CUpti_CallbackId> callbacks; ///< that a subscriber asked for

  std::vector<std::string> calls() {
    const std::lock_guard lock(m_mutex);
    return m_calls;
  }
  int flushes() {
    const std::lock_guard lock(m_mutex);
    return m_flushes;
  }
  bool subscribed() const { return m_callback != nullptr; }

  void created(std::uint64_t node) { onNode(CUPTI_CBID_RESOURCE_GRAPHNODE_CREATED, node, 0); }
  void cloned(std::uint64_t node, std::uint64_t original) { onNode(CUPTI_CBID_RESOURCE_GRAPHNODE_CLONED, node, original); }

  std::uint8_t *lend() {
    std::uint8_t *buffer = nullptr;
    std::size_t bytes = 0, most = 99;
    m_request(&buffer, &bytes, &most);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer) % 8, 0u);
    EXPECT_EQ(bytes, buffer != nullptr ? std::size_t{4} << 20 : 0u);
    EXPECT_EQ(most, 0u);
    return buffer;
  }
  void giveBack(std::uint8_t *buffer, std::size_t bytes) { m_complete(nullptr, 0, buffer, std::size_t{4} << 20, bytes); }
  void deliver(ActivityBuffer &records) {
    std::uint8_t *const buffer = lend();
    ASSERT_NE(buffer, nullptr);
    std::memcpy(buffer, records.data(), records.size());
    giveBack(buffer, records.size());
  }

  cuda::cupti::Library library() const {
    return cuda::cupti::Library([](const char *name) {
      static const std::map<std::string, void *> functions = {{"cuptiGetTimestamp", address(getTimestamp)},
                                                              {"cuptiSubscribe", address(subscribe)},
                                                              {"cuptiUnsubscribe", address(unsubscribe)},
                                                              {"cuptiEnableCallback", address(enableCallback)},
                                                              {"cuptiGetGraphNodeId", address(graphNodeId)},
                                                              {"cuptiActivityRegisterCallbacks", address(registerCallbacks)},
                                                              {"cuptiActivityEnable", address(enable)},
                                                              {"cuptiActivityDisable", address(disable)},
                                                              {"cuptiActivityFlushAll", address(flushAll)},
                                                              {"cuptiActivityGetNextRecord", address(nextRecord)},
                                                              {"cuptiActivityGetNumDroppedRecords", address(takeDropped)},
                                                              {"cuptiActivityPushExternalCorrelationId", address(push)},
                                                              {"cuptiActivityPopExternalCorrelationId", address(pop)},
                                                              {"cuptiGetErrorMessage", address(message)},
                                                              {"cuptiGetResultString", address(message)}};
      const auto at = functions.find(name);
      return at != functions.end() ? at->second : address(notThere);
    });
  }

private:
  static inline ScriptedCupti *s_current = nullptr;
  template <typename F> static void *address(F *function) { return reinterpret_cast<void *>(function); }

  static CUptiResult enter(const char *call) {
    const std::lock_guard lock(s_current->m_mutex);
    s_current->m_calls.emplace_back(call);
    return s_current->m_failing == call ? s_current->m_failure : CUPTI_SUCCESS;
  }
  void onNode(CUpti_CallbackId id, std::uint64_t node, std::uint64_t original) {
    ASSERT_TRUE(callbacks.contains(id));
    CUpti_GraphData graph{};
    graph.node = reinterpret_cast<CUgraphNode>(node), graph.originalNode = reinterpret_cast<CUgraphNode>(original);
    CUpti_ResourceData resource{};
    resource.resourceDescriptor = &graph;
    m_callback(m_user, CUPTI_CB_DOMAIN_RESOURCE, id, &resource);
  }

  static void notThere() { ADD_FAILURE() << "a function of counters"; }
  static CUptiResult message(CUptiResult, const char **text) { return *text = "as the test wants it", CUPTI_SUCCESS; }
  static CUptiResult getTimestamp(std::uint64_t *time) {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    *time = static_cast<std::uint64_t>(std::chrono::nanoseconds(now).count() + s_current->offsetNs);
    return enter("cuptiGetTimestamp");
  }
  static CUptiResult subscribe(CUpti_SubscriberHandle *handle, CUpti_CallbackFunc callback, void *user) {
    if (const CUptiResult result = enter("cuptiSubscribe"); result != CUPTI_SUCCESS) return result;
    if (s_current->m_callback != nullptr) return CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED;
    s_current->m_callback = callback, s_current->m_user = user;
    *handle = reinterpret_cast<CUpti_SubscriberHandle>(s_current);
    return CUPTI_SUCCESS;
  }
  static CUptiResult unsubscribe(CUpti_SubscriberHandle) {
    s_current->m_callback = nullptr;
    s_current->callbacks.clear();
    return enter("cuptiUnsubscribe");
  }
  static CUptiResult enableCallback(std::uint32_t on, CUpti_SubscriberHandle, CUpti_CallbackDomain domain,
                                    CUpti_CallbackId id) {
    EXPECT_EQ(on, 1u);
    EXPECT_EQ(domain, CUPTI_CB_DOMAIN_RESOURCE);
    s_current->callbacks.insert(id);
    return enter("cuptiEnableCallback");
  }
  static CUptiResult graphNodeId(CUgraphNode node, std::uint64_t *id) {
    *id = reinterpret_cast<std::uint64_t>(node);
    return enter("cuptiGetGraphNodeId");
  }
  static CUptiResult registerCallbacks(CUpti_BuffersCallbackRequestFunc request,
                                       CUpti_BuffersCallbackCompleteFunc complete) {
    s_current->m_request = request, s_current->m_complete = complete;
    return enter("cuptiActivityRegisterCallbacks");
  }
  static CUptiResult enable(CUpti_ActivityKind kind) {
    if (const CUptiResult result = enter("cuptiActivityEnable"); result != CUPTI_SUCCESS) return result;
    s_current->enabled.insert(kind);
    return CUPTI_SUCCESS;
  }
  static CUptiResult disable(CUpti_ActivityKind kind) {
    s_current->enabled.erase(kind);
    return enter("cuptiActivityDisable");
  }
  static CUptiResult flushAll(std::uint32_t flag) {
    if (flag == 0) {
      const std::lock_guard lock(s_current->m_mutex);
      return ++s_current->m_flushes, CUPTI_SUCCESS;
    }
    for (ActivityBuffer &records : s_current->ready) s_current->deliver(records);
    s_current->ready.clear();
    return enter("cuptiActivityFlushAll");
  }
  static CUptiResult takeDropped(CUcontext, std::uint32_t, std::size_t *count) {
    *count = std::exchange(s_current->dropped, 0);
    return CUPTI_SUCCESS;
  }
  static CUptiResult push(CUpti_ExternalCorrelationKind kind, std::uint64_t id) {
    EXPECT_EQ(kind, CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0);
    if (const CUptiResult result = enter("cuptiActivityPushExternalCorrelationId"); result != CUPTI_SUCCESS) return result;
    s_current->pushed.push_back(id), s_current->allPushed.push_back(id);
    return CUPTI_SUCCESS;
  }
  static CUptiResult pop(CUpti_ExternalCorrelationKind kind, std::uint64_t *) {
    EXPECT_EQ(kind, CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0);
    s_current->pushed.pop_back();
    return enter("cuptiActivityPopExternalCorrelationId");
  }

  std::mutex m_mutex; ///< the timeline flushes from a thread of its own
  std::vector<std::string> m_calls;
  int m_flushes = 0;
  std::string m_failing;
  CUptiResult m_failure = CUPTI_SUCCESS;
  CUpti_CallbackFunc m_callback = nullptr;
  void *m_user = nullptr;
  CUpti_BuffersCallbackRequestFunc m_request = nullptr;
  CUpti_BuffersCallbackCompleteFunc m_complete = nullptr;
};

} // namespace xqs::test
