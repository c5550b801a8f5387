// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/views/sample_profile.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace xqs::test {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kPeak = 4.1e12, kFlops = 6.6e14; ///< bytes and FLOP a second of the GPU
constexpr double kCpuPeak = 2.1e10;
constexpr double kLayerWeights = 404.8e6, kLogits = 262.1e6; ///< bytes, FP16

/// One operation of a step: what it moves, and how its launches are called.
struct Operation {
  const char *part, *operation, *launch;
  double bytes = 0, flops = 0;
  int launches = 1;
  std::int64_t queue = 0;
};

std::vector<Operation> layerOperations(const ProfilePolicy &policy, double tokens, double scale) {
  const double weights = kLayerWeights * scale, cache = policy.bytes * tokens * scale;
  std::vector<Operation> list{
      {"qkv", "matmul", "void gemv_f16<8, 128>(half const*, float const*, float*)", 0.25 * weights, 1e8},
      {"qkv", "rope", "rotate_rows(float*, float const*, int)", 5e4, 1e5},
      {"cache", "quantize", "void pack_rows<2, 128>(float const*, unsigned char*)", 9e4, 1e5}};
  if (policy.rebuildFlop > 0)
    list.push_back({"attend", "rebuild", "void rebuild_keys<2, 64>(unsigned char const*, half const*, half*)", 0.4 * cache,
                    policy.rebuildFlop * tokens * scale, 4, 2});
  list.push_back({"attend", "attend stored", "void attend_stored<2, 128>(StoredView, float const*, float*)",
                  policy.rebuildFlop > 0 ? 0.6 * cache : cache, 2e8, 2});
  list.push_back(
      {"output projection", "matmul", "void gemv_f16<8, 128>(half const*, float const*, float*)", 0.083 * weights, 4e7});
  list.push_back(
      {"feed forward", "matmul", "void gemv_f16<8, 128>(half const*, float const*, float*)", 0.445 * weights, 2e8});
  list.push_back({"feed forward", "silu", "silu_rows(float*, float const*, int)", 8e4, 1e5});
  list.push_back(
      {"feed forward", "matmul", "void gemv_f16<8, 128>(half const*, float const*, float*)", 0.222 * weights, 1e8});
  return list;
}

/// Launches with their times, and traffic summed as a profile does it.
class StepWriter {
public:
  StepWriter(RowId run, const ProfileOptions &options, std::int64_t policy, std::int64_t context, std::int64_t batch)
      : m_run(run), m_options(options), m_policy(policy), m_context(context), m_batch(batch) {}

  void write(RunStore &store) {
    const ProfilePolicy &policy = profilePolicies()[static_cast<std::size_t>(m_policy)];
    const double tokens = static_cast<double>(m_context * m_batch), scale = m_options.gpu ? 1 : 0.004;
    for (int layer = 0; layer < m_options.layers; ++layer) {
      for (const Operation &operation : layerOperations(policy, tokens, scale)) add(layer, operation);
      addTraffic(layer);
    }
    add(-1, {"logits", "matmul", "void gemv_f16<8, 128>(half const*, float const*, float*)", kLogits * scale, 5e8});
    addTraffic(-1);
    StepRow timed = step(policy, scale);
    if (!m_options.timeline) {
      m_kernels.clear();
      for (TrafficRow &traffic : m_traffic) traffic.seconds = traffic.countedBytes = traffic.countedFlops = kNaN;
      timed.countedBytes = timed.countedFlops = timed.timelineCost = kNaN;
    }
    for (auto &row : m_kernels) store.append(row);
    for (auto &row : m_traffic) store.append(row);
    store.append(timed);
    if (m_options.gpu && m_options.measured != Measured::Nothing) addSamples(store);
  }

private:
  template <class Row> Row row() const {
    Row r;
    r.run = m_run, r.policy = m_policy, r.context = m_context, r.batch = m_batch;
    return r;
  }

  void add(int layer, const Operation &operation) {
    const double peak = m_options.gpu ? 0.72 * kPeak : 0.8 * kCpuPeak;
    const double flops = m_options.gpu ? 0.6 * kFlops : 2e11;
    const double seconds = std::max(operation.bytes / peak, operation.flops * (m_options.gpu ? 1 : 0.004) / flops) +
                           (m_options.gpu ? 1.6e-6 : 4e-7);
    const int launches = m_options.gpu ? operation.launches : 1;
    double &at = m_at[m_options.gpu ? operation.queue : 0];
    ++m_call;
    for (int i = 0; i < launches; ++i) {
      KernelRow kernel = row<KernelRow>();
      kernel.sequence = static_cast<std::int64_t>(m_kernels.size());
      kernel.layer = layer, kernel.part = operation.part, kernel.operation = operation.operation, kernel.call = m_call;
      if (m_options.gpu) kernel.launch = operation.launch, kernel.queue = operation.queue;
      kernel.startNs = std::llround(at * 1e9), kernel.durationNs = std::llround(seconds / launches * 1e9);
      if (i == 0) kernel.bytes = operation.bytes, kernel.flops = operation.flops;
      if (m_options.microscope && (layer != 0 || kernel.operation != "quantize")) magnify(kernel, operation);
      at += seconds / launches + (m_options.gpu ? 0.4e-6 : 0.1e-6);
      m_kernels.push_back(kernel);
    }
    if (m_options.gpu && operation.queue != 0) m_at[0] = std::max(m_at[0], at - 0.8 * seconds);
    TrafficRow *part = find(layer, operation.part);
    part->seconds += seconds, part->countedBytes += operation.bytes, part->countedFlops += operation.flops;
  }

  static void magnify(KernelRow &kernel, const Operation &operation) {
    const double bytes = 1.04 * operation.bytes / operation.launches;
    kernel.measuredSeconds = 1.02e-9 * static_cast<double>(kernel.durationNs);
    kernel.measuredRead = 0.9 * bytes, kernel.measuredWrite = 0.1 * bytes;
    kernel.cacheAccesses = bytes / 24, kernel.cacheMisses = bytes / 32, kernel.cacheHitRate = 0.25;
    kernel.cycles = 1.7 * static_cast<double>(kernel.durationNs), kernel.tensorInstructions = operation.flops / 4096;
  }

  TrafficRow *find(int layer, const char *part) {
    for (TrafficRow &traffic : m_traffic)
      if (traffic.layer == layer && traffic.part == part) return &traffic;
    m_traffic.push_back(row<TrafficRow>());
    m_traffic.back().layer = layer, m_traffic.back().part = part;
    return &m_traffic.back();
  }

  /// What counters would have said of each part; then everything of the layer.
  void addTraffic(int layer) {
    TrafficRow all = row<TrafficRow>();
    all.layer = layer;
    for (TrafficRow &part : m_traffic) {
      if (part.layer != layer) continue;
      all.seconds += part.seconds, all.countedBytes += part.countedBytes, all.countedFlops += part.countedFlops;
      count(part);
    }
    count(all);
    m_traffic.push_back(all);
  }

  void count(TrafficRow &traffic) const {
    const double more = 1.02 + 0.015 * std::sin(static_cast<double>(traffic.layer) * 1.3);
    const double bytes = traffic.countedBytes * more;
    traffic.measuredSeconds = traffic.seconds * 1.01;
    traffic.measuredRead = m_options.gpu ? 0.97 * bytes : kNaN;
    traffic.measuredWrite = m_options.gpu ? 0.03 * bytes : kNaN;
    traffic.cacheAccesses = bytes / (m_options.gpu ? 32 : 64), traffic.cacheMisses = 0.86 * traffic.cacheAccesses;
    traffic.cacheHitRate = m_options.gpu ? 0.131 : kNaN;
    traffic.cycles = traffic.seconds * (m_options.gpu ? 1.7e9 : 2.9e9);
    traffic.tensorInstructions = m_options.gpu ? traffic.countedFlops / 4096 : kNaN;
    const bool told =
        m_options.measured == Measured::Parts || (m_options.measured == Measured::Layers && traffic.part.empty());
    if (m_options.gpu && !told)
      for (double *figure : {&traffic.measuredSeconds, &traffic.measuredRead, &traffic.measuredWrite, &traffic.cacheAccesses,
                             &traffic.cacheMisses, &traffic.cacheHitRate, &traffic.cycles, &traffic.tensorInstructions})
        *figure = kNaN;
  }

  StepRow step(const ProfilePolicy &policy, double scale) const {
    StepRow s = row<StepRow>();
    s.steps = 32;
    double end = 0;
    for (const KernelRow &kernel : m_kernels)
      end = std::max(end, static_cast<double>(kernel.startNs + kernel.durationNs) / 1e9);
    s.seconds = 0.96 * end, s.lowSeconds = 0.955 * end, s.highSeconds = 0.972 * end;
    s.cacheBytes = std::llround(policy.bytes * static_cast<double>(m_context) * m_options.layers * scale);
    s.weightBytes = std::llround((kLayerWeights * m_options.layers + kLogits) * scale);
    double measured = 0;
    for (const TrafficRow &traffic : m_traffic)
      if (traffic.part.empty()) {
        s.countedBytes += traffic.countedBytes, s.countedFlops += traffic.countedFlops;
        measured += traffic.measuredRead + traffic.measuredWrite;
      }
    s.measuredRead = 0.973 * measured, s.measuredWrite = 0.031 * measured;
    s.timelineCost = 0.034, s.countersCost = m_options.gpu ? 0.61 : 0.02, s.samplingCost = m_options.gpu ? 0.008 : kNaN;
    return s;
  }

  void addSamples(RunStore &store) const {
    constexpr int kSamples = 400, kChunk = 100;
    const std::int64_t point = m_policy + (m_context > 4096 ? 8 : 0) + (m_batch > 1 ? 4 : 0);
    for (int begin = 0; begin < kSamples; begin += kChunk) {
      std::vector<float> read, write;
      for (int i = begin; i < begin + kChunk; ++i) {
        const double busy = profilePolicies()[static_cast<std::size_t>(m_policy)].rebuildFlop > 0 ? 0.45 : 0.74;
        const double wave = 1 + 0.05 * std::sin(i * 0.7) + 0.03 * std::sin(i * 2.9);
        read.push_back(static_cast<float>(i < 12 ? 2e10 : kPeak * busy * wave));
        write.push_back(static_cast<float>(i < 12 ? 1.9e12 : kPeak * 0.03 * wave));
      }
      ThroughputRow samples = row<ThroughputRow>();
      samples.startNs = (point * 520 + begin) * 1'000'000, samples.intervalNs = 1'000'000;
      samples.read.resize(read.size() * sizeof(float)), samples.write.resize(write.size() * sizeof(float));
      std::memcpy(samples.read.data(), read.data(), samples.read.size());
      std::memcpy(samples.write.data(), write.data(), samples.write.size());
      store.append(samples);
    }
  }

  RowId m_run;
  ProfileOptions m_options;
  std::int64_t m_policy, m_context, m_batch, m_call = 0;
  double m_at[3] = {0, 0, 0}; ///< seconds at which each queue is free
  std::vector<KernelRow> m_kernels;
  std::vector<TrafficRow> m_traffic;
};

InstrumentRow instrument(const char *name, const char *state, const char *source, const char *sentence) {
  InstrumentRow row;
  row.instrument = name, row.state = state, row.source = source, row.sentence = sentence;
  row.selfTestExpected = row.selfTestRead = kNaN;
  return row;
}

std::vector<InstrumentRow> instruments(bool gpu) {
  if (!gpu)
    return {instrument("timeline", "ready", "steady clock", "each operation from its call to its return"),
            instrument("counters", "ready", "perf",
                       "counted in user code of the threads that compute: cache-references, cache-misses, cycles; bytes are "
                       "counted from shapes, not measured at the memory controllers: the kernel keeps them from this user "
                       "(set kernel.perf_event_paranoid to 0)"),
            instrument("sampling", "no-permission", "",
                       "the memory controllers' counters are kept from this user: set kernel.perf_event_paranoid to 0")};
  std::vector<InstrumentRow> rows{
      instrument("timeline", "ready", "CUPTI 13.0", "activity records of every launch, graph nodes mapped to operations"),
      instrument("counters", "ready", "CUPTI 13.0",
                 "DRAM bytes of ranges of operations; a copy of 256 MiB read back within 0.4 %"),
      instrument("sampling", "ready", "CUPTI 13.0", "DRAM bytes every 1000 µs; a copy of 256 MiB read back within 0.9 %")};
  rows[1].selfTestExpected = 536870912, rows[1].selfTestRead = 539018395;
  rows[0].dropped = 3;
  return rows;
}

PeakRow peak(const char *name, double value, const char *text) {
  PeakRow row;
  row.name = name, row.value = value, row.text = text;
  return row;
}

} // namespace

const std::vector<ProfilePolicy> &profilePolicies() {
  static const std::vector<ProfilePolicy> kPolicies{{"fp16", 16384, 0},
                                                    {"kivi-star:bits=2", 2304, 0},
                                                    {"xquant:bits=2,source=x", 1152, 33.9e6},
                                                    {"xquant-cl:bits=2,source=x,domain=residual", 5504, 33.9e6}};
  return kPolicies;
}

RowId beginProfile(RunStore &store, const ProfileOptions &options) {
  RunRow run;
  run.uuid = options.gpu ? "profile-gpu" : "profile-cpu", run.startedUtc = "2026-11-29T10:00:00Z", run.kind = "profile";
  run.title = options.gpu ? "llama-2-7b · decoding on an H200" : "SmolLM2-135M · decoding on a CPU";
  run.model = options.gpu ? "llama-2-7b" : "SmolLM2-135M", run.layers = options.layers, run.d = 4096, run.heads = 32;
  run.kvHeads = 32, run.dh = 128, run.ffn = 11008, run.vocab = 32000, run.backend = options.gpu ? "cuda" : "cpu";
  run.spec = options.spec, run.device = options.gpu ? "NVIDIA H200" : "a CPU with 8 cores";
  const RowId id = store.beginRun(run);
  std::int64_t index = 0;
  for (const ProfilePolicy &sample : profilePolicies()) {
    PolicyRow policy;
    policy.run = id, policy.index = index++, policy.policy = sample.policy;
    policy.method = sample.policy.substr(0, sample.policy.find(':')), policy.relativeSize = sample.bytes / 16384;
    store.append(policy);
  }
  for (InstrumentRow &row : instruments(options.gpu)) row.run = id, store.append(row);
  std::vector<PeakRow> peaks{peak("copy", options.gpu ? kPeak : kCpuPeak, "a copy of 1 GiB, the best of ten"),
                             peak("matmul", options.gpu ? kFlops : 2e11, "a product of 8192 x 8192 matrices")};
  for (PeakRow &row : peaks) row.run = id, store.append(row);
  store.flush();
  return id;
}

void addProfilePoint(RunStore &store, RowId run, const ProfileOptions &options, std::int64_t policy, std::int64_t context,
                     std::int64_t batch) {
  StepWriter(run, options, policy, context, batch).write(store);
  store.flush();
}

void endProfile(RunStore &store, RowId run) {
  RunEndRow end;
  end.run = run, end.endedUtc = "2026-11-29T10:04:00Z", end.status = "finished", end.seconds = 240;
  store.append(end);
  store.flush();
}

RowId addProfile(RunStore &store, const ProfileOptions &options) {
  const RowId run = beginProfile(store, options);
  struct Point {
    std::int64_t context, batch;
  };
  const std::vector<Point> points = options.gpu ? std::vector<Point>{{2048, 1}, {2048, 4}, {32768, 1}, {32768, 4}}
                                                : std::vector<Point>{{512, 1}, {1024, 1}};
  for (const Point &point : points)
    for (std::size_t policy = 0; policy < profilePolicies().size(); ++policy)
      addProfilePoint(store, run, options, static_cast<std::int64_t>(policy), point.context, point.batch);
  endProfile(store, run);
  return run;
}

void addLaunches(RunStore &store, RowId run, int count) {
  constexpr const char *kParts[] = {"qkv", "cache", "attend", "output projection", "feed forward"};
  for (int i = 0; i < count; ++i) {
    KernelRow row;
    row.run = run, row.policy = 0, row.context = 4096, row.batch = 1, row.sequence = i, row.call = i;
    row.layer = i * 32 / count, row.part = kParts[i % 5], row.operation = "matmul";
    row.startNs = 1000 * std::int64_t{i}, row.durationNs = 800, row.bytes = 1e5;
    store.append(row);
  }
  store.flush();
}

} // namespace xqs::test
