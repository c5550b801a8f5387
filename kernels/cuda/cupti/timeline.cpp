// SPDX-License-Identifier: Apache-2.0
#include "timeline.h"

#include "activity_buffers.h"
#include "activity_records.h"
#include "clocks.h"
#include "join.h"
#include "subscription.h"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <thread>

namespace xqs::cuda::cupti {
namespace {

/// Where nodes of graphs come to be: CUPTI calls back on the thread that makes them.
constexpr CUpti_CallbackIdResource kNodeCallbacks[] = {CUPTI_CBID_RESOURCE_GRAPHNODE_CREATED,
                                                       CUPTI_CBID_RESOURCE_GRAPHNODE_CLONED};
/// CUPTI gives only full buffers by itself.
constexpr std::chrono::milliseconds kFlushPeriod{150};

/// Records are made while it lives; the last ones are delivered when it ends.
class Enabled {
public:
  explicit Enabled(const Library &cupti) : Enabled(cupti, 0) {
    for (const CUpti_ActivityKind kind : kActivityKinds) cupti.call(cupti.cuptiActivityEnable, kind), ++m_count;
  }
  ~Enabled() {
    if (m_count == 0) return;
    while (m_count > 0) (void)m_cupti.cuptiActivityDisable.pointer(kActivityKinds[--m_count]);
    (void)m_cupti.cuptiActivityFlushAll.pointer(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
  }
  Enabled(const Enabled &) = delete;
  Enabled &operator=(const Enabled &) = delete;
  void end() {
    while (m_count > 0) m_cupti.call(m_cupti.cuptiActivityDisable, kActivityKinds[--m_count]);
    m_cupti.call(m_cupti.cuptiActivityFlushAll, static_cast<std::uint32_t>(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED));
  }

private:
  Enabled(const Library &cupti, std::size_t count) : m_cupti(cupti), m_count(count) {}

  const Library &m_cupti;
  std::size_t m_count; ///< the first of kActivityKinds
};

class ActivityRecording final : public Recording {
public:
  explicit ActivityRecording(const Library &cupti)
      : m_cupti(cupti), m_subscription(cupti, CUPTI_CB_DOMAIN_RESOURCE, kNodeCallbacks, &onResource, this), m_buffers(cupti),
        m_enabled(cupti) {
    cupti.check(readClocks(cupti, m_clocks), cupti.cuptiGetTimestamp.name);
    m_flusher = std::jthread([this](const std::stop_token &stop) { flush(stop); });
  }

  void begin(const KernelRecord &operation) override {
    push(operation.call);
    m_open.push_back(m_calls.size());
    m_calls.push_back(operation);
  }
  void end() noexcept override {
    m_open.pop_back();
    pop();
  }
  void gather() override {
    m_nodes.gather();
    m_beforeGather = m_calls.size();
  }
  bool gathered() override { return m_nodes.gathered(); }
  void launch() override { push(kStepId | m_nodes.step()); }
  void launched() noexcept override { pop(); }
  void drop() noexcept override {
    m_nodes.drop();
    m_calls.erase(m_calls.begin() + static_cast<std::ptrdiff_t>(m_beforeGather), m_calls.end());
  }

  Instruments::Timeline finish() override {
    m_flusher = {};
    m_enabled.end();
    m_cupti.check(readClocks(m_cupti, m_clocks), m_cupti.cuptiGetTimestamp.name);
    if (m_error) std::rethrow_exception(m_error);
    m_cupti.check(m_failed, m_failedCall);
    readBuffers();
    return join(m_activities, m_calls, m_nodes, m_clocks);
  }

private:
  void push(std::uint64_t id) { m_cupti.call(m_cupti.cuptiActivityPushExternalCorrelationId, kExternalKind, id); }
  void pop() noexcept {
    note(m_cupti.cuptiActivityPopExternalCorrelationId, kExternalKind, static_cast<std::uint64_t *>(nullptr));
  }

  /// Where nothing can be thrown: the first failure ends the timeline when it is asked for.
  template <typename F, typename... A> bool note(const Function<F> &function, A... arguments) noexcept {
    const CUptiResult result = function.pointer(arguments...);
    if (result != CUPTI_SUCCESS && m_failed == CUPTI_SUCCESS) m_failed = result, m_failedCall = function.name;
    return result == CUPTI_SUCCESS;
  }

  static void CUPTIAPI onResource(void *self, CUpti_CallbackDomain domain, CUpti_CallbackId id, const void *data) {
    if (domain != CUPTI_CB_DOMAIN_RESOURCE) return;
    const auto &resource = *static_cast<const CUpti_ResourceData *>(data);
    static_cast<ActivityRecording *>(self)->onNode(id, *static_cast<const CUpti_GraphData *>(resource.resourceDescriptor));
  }
  /// Called through CUPTI and the driver, which are C: no exception may pass them.
  void onNode(CUpti_CallbackId id, const CUpti_GraphData &data) noexcept try {
    std::uint64_t node = 0, original = 0;
    if (!note(m_cupti.cuptiGetGraphNodeId, data.node, &node)) return;
    if (id == CUPTI_CBID_RESOURCE_GRAPHNODE_CREATED)
      m_nodes.created(node, m_open.empty() ? nullptr : &m_calls[m_open.back()]);
    else if (note(m_cupti.cuptiGetGraphNodeId, data.originalNode, &original))
      m_nodes.cloned(node, original);
  } catch (...) { // no memory: told when the timeline is asked for
    m_error = std::current_exception();
  }

  void readBuffers() {
    m_buffers.readAll([this](std::uint8_t *records, std::size_t bytes) {
      try {
        readRecords(m_cupti, records, bytes, m_activities);
      } catch (const std::bad_alloc &) {
        ++m_activities.dropped;
      }
    });
    m_activities.dropped += takeDropped();
  }
  /// Since it was last asked; one where that cannot be said.
  std::int64_t takeDropped() const {
    std::size_t dropped = 0;
    const CUptiResult result = m_cupti.cuptiActivityGetNumDroppedRecords.pointer(nullptr, 0, &dropped);
    return result == CUPTI_SUCCESS ? static_cast<std::int64_t>(dropped) : 1;
  }

  /// What fails here loses nothing: the last flush and the last reading are checked.
  void flush(const std::stop_token &stop) {
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::condition_variable_any wake;
    while (!wake.wait_for(lock, stop, kFlushPeriod, [&] { return stop.stop_requested(); })) {
      (void)m_cupti.cuptiActivityFlushAll.pointer(0);
      (void)readClocks(m_cupti, m_clocks);
      readBuffers();
    }
  }

  const Library &m_cupti;
  std::vector<KernelRecord> m_calls; ///< of operations, in their order; not of steps that were dropped
  std::size_t m_beforeGather = 0;    ///< of m_calls
  std::vector<std::size_t> m_open;   ///< those of m_calls that are under way, innermost last
  GraphNodes m_nodes;
  CUptiResult m_failed = CUPTI_SUCCESS;
  const char *m_failedCall = "";
  std::exception_ptr m_error; ///< of a callback
  // The flusher's while it runs.
  ClockPairs m_clocks;
  Activities m_activities;
  // Ended in the opposite order.
  Subscription m_subscription;
  ActivityBuffers m_buffers;
  Enabled m_enabled;
  std::jthread m_flusher;
};

} // namespace

std::unique_ptr<Recording> record(const Library &cupti) { return std::make_unique<ActivityRecording>(cupti); }

} // namespace xqs::cuda::cupti
