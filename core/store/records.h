// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

/// The rows of a `.xqs` file. Rows are appended, never changed. One list of fields a record (`visit`) serves the schema, the
/// writer, the reader and the export; a new kind is one struct here, one line in `AllRecords` and, with every column that
/// comes later, one in `schema::kAdded`. `kIdentity`: the columns that tell a row from the others of its run; merging takes
/// a row whose identity is not there yet. Column types: integers, doubles (NaN = NULL), text, blobs (little-endian).
namespace xqs {

using RowId = std::int64_t;
using Blob = std::vector<std::uint8_t>;
template <std::size_t N> using Identity = std::array<std::string_view, N>;

/// One run: everything needed to repeat it. Written and committed before anything is computed.
struct RunRow {
  static constexpr const char *kTable = "run";
  static constexpr Identity<1> kIdentity = {"uuid"};
  RowId id = 0;
  std::string uuid;
  std::string startedUtc; ///< ISO 8601
  std::string kind;       ///< "eval" (closed loop), "layers" (open loop), "preview", "generate",
                          ///< "profile"
  std::string title;      ///< for legends: model, text, protocol in short
  std::string model, modelHash, architecture, weightTypes; ///< name, SHA-256
  std::int64_t layers = 0, d = 0, heads = 0, kvHeads = 0, dh = 0, vocab = 0, ffn = 0;
  std::string text, textHash; ///< name, SHA-256 of the bytes
  std::int64_t textTokens = 0;
  std::string tokensHash;                                ///< SHA-256 of the ids as little-endian int32
  std::int64_t window = 0, firstWindow = 0, windows = 0; ///< tokens a window; windows asked for
  std::string state;                                     ///< "all" | "stream"
  std::string protocol;                                  ///< one sentence: what was scored and how
  std::string backend, device, machine;
  std::int64_t threads = 0, seed = 0;
  std::string version, libraries; ///< ours; theirs as "name version, ..."
  std::string spec;               ///< the experiment as JSON
  std::string study;              ///< a run that is continued and merged belongs to one; empty: a run of its own
  std::string studyKey;           ///< SHA-256 of everything that moves a figure, see `studyKey` (run/runner.h)
  std::string calibrationText, calibrationTextHash, calibrationTokensHash; ///< as text, textHash, tokensHash
  std::int64_t calibrationWindows = 0;

  template <class Self, class V> static void visit(Self &r, V &&v) {
    v("uuid", r.uuid), v("started_utc", r.startedUtc), v("kind", r.kind), v("title", r.title), v("model", r.model);
    v("model_hash", r.modelHash), v("architecture", r.architecture), v("weight_types", r.weightTypes);
    v("layers", r.layers), v("d", r.d), v("heads", r.heads), v("kv_heads", r.kvHeads), v("dh", r.dh);
    v("vocab", r.vocab), v("ffn", r.ffn), v("text", r.text), v("text_hash", r.textHash), v("text_tokens", r.textTokens);
    v("tokens_hash", r.tokensHash), v("window", r.window), v("first_window", r.firstWindow), v("windows", r.windows);
    v("state", r.state), v("protocol", r.protocol), v("backend", r.backend), v("device", r.device);
    v("machine", r.machine), v("threads", r.threads), v("seed", r.seed), v("version", r.version);
    v("libraries", r.libraries), v("spec", r.spec), v("study", r.study), v("study_key", r.studyKey);
    v("calibration_text", r.calibrationText), v("calibration_text_hash", r.calibrationTextHash);
    v("calibration_tokens_hash", r.calibrationTokensHash), v("calibration_windows", r.calibrationWindows);
  }
};

/// How a run ended; a run without such a row is running, or crashed. A run that was continued has several: the last one
/// says.
struct RunEndRow {
  static constexpr const char *kTable = "run_end";
  static constexpr Identity<1> kIdentity = {"ended_utc"};
  RowId id = 0;
  RowId run = 0;
  std::string endedUtc;
  std::string status; ///< "finished" | "cancelled" | "failed"
  std::string message;
  double seconds = 0;

  template <class Self, class V> static void visit(Self &r, V &&v) {
    v("run", r.run), v("ended_utc", r.endedUtc), v("status", r.status), v("message", r.message), v("seconds", r.seconds);
  }
};

/// One policy of a run with its ledger. All sizes are per window, in bytes; formulas: method.md 2, `CacheBytes`.
struct PolicyRow {
  static constexpr const char *kTable = "policy";
  static constexpr Identity<1> kIdentity = {"policy_index"};
  RowId id = 0;
  RowId run = 0;
  std::int64_t index = 0; ///< position in the run's whole list, from 0, also where a shard does a part of it
  std::string policy;     ///< canonical string
  std::string method;     ///< "xquant-cl": the series it belongs to
  std::int64_t formatBytes = 0, allocatedBytes = 0;
  std::int64_t codes = 0, scales = 0, outliers = 0, residual = 0; ///< format bytes, parts (rounded up)
  std::int64_t accumulator = 0, scratch = 0;                      ///< working memory, not part of the cache size
  double bitsPerElement = 0, relativeSize = 0, relativeSizeMha = 0;

  template <class Self, class V> static void visit(Self &r, V &&v) {
    v("run", r.run), v("policy_index", r.index), v("policy", r.policy), v("method", r.method);
    v("format_bytes", r.formatBytes), v("allocated_bytes", r.allocatedBytes), v("codes", r.codes), v("scales", r.scales);
    v("outliers", r.outliers), v("residual", r.residual), v("accumulator", r.accumulator), v("scratch", r.scratch);
    v("bits_per_element", r.bitsPerElement), v("relative_size", r.relativeSize), v("relative_size_mha", r.relativeSizeMha);
  }
};

/// One window scored under one policy (policy = -1: the exact model). NLL and KL in nats a token.
struct WindowRow {
  static constexpr const char *kTable = "window_result";
  static constexpr Identity<2> kIdentity = {"policy_index", "window"};
  RowId id = 0;
  RowId run = 0;
  std::int64_t policy = -1;
  std::int64_t window = 0;
  std::int64_t tokens = 0; ///< scored positions
  double meanNll = 0, meanKl = 0, top1 = 1;
  double seconds = 0; ///< wall time of this lane's share

  template <class Self, class V> static void visit(Self &r, V &&v) {
    v("run", r.run), v("policy_index", r.policy), v("window", r.window), v("tokens", r.tokens), v("mean_nll", r.meanNll);
    v("mean_kl", r.meanKl), v("top1", r.top1), v("seconds", r.seconds);
  }
};

/// The scores that a WindowRow is the mean of, a value a scored position (policy = -1: the exact model, whose KL is 0).
struct PositionRow {
  static constexpr const char *kTable = "position";
  static constexpr Identity<2> kIdentity = {"policy_index", "window"};
  RowId id = 0;
  RowId run = 0;
  std::int64_t policy = -1, window = 0;
  std::int64_t first = 0; ///< position of the first value in its window; position i predicts token i + 1
  Blob nll, kl;           ///< float32, nats
  Blob sameTop;           ///< a byte each: 1 where the argmax is the exact model's

  template <class Self, class V> static void visit(Self &r, V &&v) {
    v("run", r.run), v("policy_index", r.policy), v("window", r.window), v("first", r.first), v("nll", r.nll);
    v("kl", r.kl), v("same_top", r.sameTop);
  }
};

/// How far a policy's scores of one window move where nothing that means anything changes (findings.md 7): scored again with
/// the embedded rows perturbed at random, minus the WindowRow.
struct NoiseRow {
  static constexpr const char *kTable = "noise";
  static constexpr Identity<2> kIdentity = {"policy_index", "window"};
  RowId id = 0;
  RowId run = 0;
  std::int64_t policy = 0, window = 0;
  double perturbation = 0;                    ///< relative size
  double nllDifference = 0, klDifference = 0; ///< nats a token

  template <class Self, class V> static void visit(Self &r, V &&v) {
    v("run", r.run), v("policy_index", r.policy), v("window", r.window), v("perturbation", r.perturbation);
    v("nll_difference", r.nllDifference), v("kl_difference", r.klDifference);
  }
};

/// Relative Frobenius errors of one layer under one policy: K after RoPE, V, and the attention input X (NaN where the method
/// rebuilds no X). `loop`: "open" = every layer got the exact X, "closed" = its own (errors add up).
struct LayerErrorRow {
  static constexpr const char *kTable = "layer_error";
  static constexpr Identity<4> kIdentity = {"policy_index", "window", "layer", "loop"};
  RowId id = 0;
  RowId run = 0;
  std::int64_t policy = 0, window = 0, layer = 0;
  std::string loop;
  double k = 0, v = 0, x = 0;

  template <class Self, class V> static void visit(Self &r, V &&v) {
    v("run", r.run), v("policy_index", r.policy), v("window", r.window), v("layer", r.layer), v("loop", r.loop);
    v("k_rel_error", r.k), v("v_rel_error", r.v), v("x_rel_error", r.x);
  }
};

/// A captured distribution: the exact tensor (policy = -1) or its reconstruction under a policy, same bins.
struct SummaryRow {
  static constexpr const char *kTable = "summary";
  static constexpr Identity<4> kIdentity = {"policy_index", "window", "layer", "site"};
  RowId id = 0;
  RowId run = 0;
  std::int64_t policy = -1, window = 0, layer = 0;
  std::string site; ///< "x", "residual", "delta", "latent_k", "latent_v", "k", "v"
  std::int64_t count = 0;
  double mean = 0, variance = 0, min = 0, max = 0, histogramMin = 0, histogramMax = 0;
  Blob histogram;           ///< Summary::kBins uint32
  Blob topChannels;         ///< pairs (int32 channel, float mean |x|), descending
  double relativeError = 0; ///< of the reconstruction; 0 for the exact tensor

  template <class Self, class V> static void visit(Self &r, V &&v) {
    v("run", r.run), v("policy_index", r.policy), v("window", r.window), v("layer", r.layer), v("site", r.site);
    v("count", r.count), v("mean", r.mean), v("variance", r.variance), v("min", r.min), v("max", r.max);
    v("histogram_min", r.histogramMin), v("histogram_max", r.histogramMax), v("histogram", r.histogram);
    v("top_channels", r.topChannels), v("relative_error", r.relativeError);
  }
};

/// L x L mean cosine between layers of the exact model.
struct SimilarityRow {
  static constexpr const char *kTable = "similarity";
  static constexpr Identity<2> kIdentity = {"window", "site"};
  RowId id = 0;
  RowId run = 0;
  std::int64_t window = 0;
  std::string site; ///< "x" (post-norm), "residual", "k" (before RoPE), "v"
  std::int64_t layers = 0;
  Blob cosine; ///< layers * layers float32, row-major

  template <class Self, class V> static void visit(Self &r, V &&v) {
    v("run", r.run), v("window", r.window), v("site", r.site), v("layers", r.layers), v("cosine", r.cosine);
  }
};

/// Time and counted traffic of one operation, summed over a window and all layers (policy = -1: the exact lane).
struct OperationRow {
  static constexpr const char *kTable = "operation";
  static constexpr Identity<3> kIdentity = {"policy_index", "window", "operation"};
  RowId id = 0;
  RowId run = 0;
  std::int64_t policy = -1, window = 0;
  std::string operation;
  std::int64_t calls = 0, nanoseconds = 0;
  double bytes = 0, flops = 0; ///< counted from shapes, not measured

  template <class Self, class V> static void visit(Self &r, V &&v) {
    v("run", r.run), v("policy_index", r.policy), v("window", r.window), v("operation", r.operation), v("calls", r.calls);
    v("nanoseconds", r.nanoseconds), v("counted_bytes", r.bytes), v("counted_flops", r.flops);
  }
};

/// What hardware counted of a range or of a launch (CounterFigures in core/api); NaN: not measured.
struct MeasuredFigures {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  double measuredSeconds = kNone, measuredRead = kNone, measuredWrite = kNone;
  double cacheAccesses = kNone, cacheMisses = kNone, cacheHitRate = kNone, cycles = kNone, tensorInstructions = kNone;

  template <class Self, class V> static void visitMeasured(Self &r, V &&v) {
    v("measured_seconds", r.measuredSeconds), v("measured_read", r.measuredRead), v("measured_write", r.measuredWrite);
    v("cache_accesses", r.cacheAccesses), v("cache_misses", r.cacheMisses), v("cache_hit_rate", r.cacheHitRate);
    v("cycles", r.cycles), v("tensor_instructions", r.tensorInstructions);
  }
};

/// How long a step of decoding takes at one point of a run of kind "profile": one token of each of `batch` sequences whose
/// caches hold `context` tokens, with logits.
struct StepRow {
  static constexpr const char *kTable = "step";
  static constexpr Identity<3> kIdentity = {"policy_index", "context", "batch"};
  RowId id = 0;
  RowId run = 0;
  std::int64_t policy = 0, context = 0, batch = 1;
  std::int64_t steps = 0;                                      ///< that were timed
  double seconds = 0, lowSeconds = 0, highSeconds = 0;         ///< median and quartiles
  std::int64_t cacheBytes = 0, weightBytes = 0;                ///< format bytes of one sequence; model and maps
  double countedBytes = 0, countedFlops = 0;                   ///< of a traced step, from shapes
  double tracerSeconds = MeasuredFigures::kNone;               ///< that the tracer says it took itself in that step
  double timelineCost = 0, countersCost = 0, samplingCost = 0; ///< of a step's time; NaN: not measured
  double measuredRead = 0, measuredWrite = 0;                  ///< bytes of a whole step; NaN: not measured

  template <class Self, class V> static void visit(Self &r, V &&v) {
    v("run", r.run), v("policy_index", r.policy), v("context", r.context), v("batch", r.batch), v("steps", r.steps);
    v("seconds", r.seconds), v("low_seconds", r.lowSeconds), v("high_seconds", r.highSeconds);
    v("cache_bytes", r.cacheBytes), v("weight_bytes", r.weightBytes), v("counted_bytes", r.countedBytes);
    v("counted_flops", r.countedFlops), v("timeline_cost", r.timelineCost), v("counters_cost", r.countersCost);
    v("sampling_cost", r.samplingCost), v("measured_read", r.measuredRead), v("measured_write", r.measuredWrite);
    v("tracer_seconds", r.tracerSeconds);
  }
};

/// One launch of one traced step (KernelRecord). Measured figures are the microscope's: of the same launch in another run of
/// the step, in which every kernel was counted by itself.
struct KernelRow : MeasuredFigures {
  static constexpr const char *kTable = "kernel";
  static constexpr Identity<4> kIdentity = {"policy_index", "context", "batch", "sequence"};
  RowId id = 0;
  RowId run = 0;
  std::int64_t policy = 0, context = 0, batch = 1;
  std::int64_t sequence = 0; ///< place in the step, by start
  std::int64_t layer = -1, lane = -1;
  std::string part;      ///< Tag::op: "attend"
  std::string operation; ///< "matmul"
  std::string launch;    ///< the function; may be empty
  std::int64_t call = 0; ///< launches of one operation have one number
  std::int64_t queue = 0;
  std::int64_t startNs = 0, durationNs = 0; ///< start: from the step's first launch on
  double bytes = 0, flops = 0;              ///< counted, of the operation, on its first launch

  template <class Self, class V> static void visit(Self &r, V &&v) {
    v("run", r.run), v("policy_index", r.policy), v("context", r.context), v("batch", r.batch), v("sequence", r.sequence);
    v("layer", r.layer), v("lane", r.lane), v("part", r.part), v("operation", r.operation), v("launch", r.launch);
    v("call", r.call), v("queue", r.queue), v("start_ns", r.startNs), v("duration_ns", r.durationNs);
    v("counted_bytes", r.bytes), v("counted_flops", r.flops);
    visitMeasured(r, v);
  }
};

/// What one range of a step moved, counted beside measured.
struct TrafficRow : MeasuredFigures {
  static constexpr const char *kTable = "traffic";
  static constexpr Identity<5> kIdentity = {"policy_index", "context", "batch", "layer", "part"};
  RowId id = 0;
  RowId run = 0;
  std::int64_t policy = 0, context = 0, batch = 1;
  std::int64_t layer = -1; ///< -1: outside the layers
  std::string part;        ///< Tag::op, all lanes together; empty: everything of the layer
  double seconds = 0;      ///< of the operations, from the timeline
  double countedBytes = 0, countedFlops = 0;

  template <class Self, class V> static void visit(Self &r, V &&v) {
    v("run", r.run), v("policy_index", r.policy), v("context", r.context), v("batch", r.batch), v("layer", r.layer);
    v("part", r.part), v("seconds", r.seconds), v("counted_bytes", r.countedBytes), v("counted_flops", r.countedFlops);
    visitMeasured(r, v);
  }
};

/// Samples of the whole device's traffic while steps ran, other processes' included.
struct ThroughputRow {
  static constexpr const char *kTable = "throughput";
  static constexpr Identity<4> kIdentity = {"policy_index", "context", "batch", "start_ns"};
  RowId id = 0;
  RowId run = 0;
  std::int64_t policy = 0, context = 0, batch = 1; ///< of a generation -1, 0, lanes: all its policies run together
  std::int64_t startNs = 0;                        ///< since the run's first sample
  std::int64_t intervalNs = 0;                     ///< of every sample
  Blob read, write;                                ///< float32 each, bytes a second

  template <class Self, class V> static void visit(Self &r, V &&v) {
    v("run", r.run), v("policy_index", r.policy), v("context", r.context), v("batch", r.batch), v("start_ns", r.startNs);
    v("interval_ns", r.intervalNs), v("read", r.read), v("write", r.write);
  }
};

/// What an instrument of the run could measure, and why not (InstrumentStatus): known when the run begins. An instrument of
/// which something was dropped, or that says another thing then, has one more row at the end: the last one says.
struct InstrumentRow {
  static constexpr const char *kTable = "instrument";
  static constexpr Identity<4> kIdentity = {"instrument", "state", "sentence", "dropped"};
  RowId id = 0;
  RowId run = 0;
  std::string instrument, state, sentence, source, metrics;
  std::int64_t dropped = 0;                      ///< records or ranges, of the whole run
  double selfTestExpected = 0, selfTestRead = 0; ///< bytes; NaN: no test

  template <class Self, class V> static void visit(Self &r, V &&v) {
    v("run", r.run), v("instrument", r.instrument), v("state", r.state), v("sentence", r.sentence), v("source", r.source);
    v("metrics", r.metrics), v("dropped", r.dropped), v("self_test_expected", r.selfTestExpected);
    v("self_test_read", r.selfTestRead);
  }
};

/// A limit of the machine, measured in the run.
struct PeakRow {
  static constexpr const char *kTable = "peak";
  static constexpr Identity<1> kIdentity = {"name"};
  RowId id = 0;
  RowId run = 0;
  std::string
      name; ///< "copy" (the memory's: bytes read and written a second), "host-copy" (host to device), "matmul" (FLOP/s)
  double value = 0; ///< a second
  std::string text; ///< how it was measured

  template <class Self, class V> static void visit(Self &r, V &&v) {
    v("run", r.run), v("name", r.name), v("value", r.value), v("text", r.text);
  }
};

/// One token that a run of kind "generate" drew under one policy (policy = -1: the exact model).
struct GeneratedRow {
  static constexpr const char *kTable = "generated";
  static constexpr Identity<2> kIdentity = {"policy_index", "step"};
  RowId id = 0;
  RowId run = 0;
  std::int64_t policy = -1;
  std::int64_t step = 0;             ///< from 0, after the prompt
  std::int64_t token = 0;            ///< id
  std::string text;                  ///< characters that this token completes, UTF-8; may be empty
  std::int64_t ends = 0;             ///< 1: it ends the text or the turn
  double logProbability = 0;         ///< nats: what the model itself, before sampling, gave this token
  std::int64_t sameAsExact = 1;      ///< 1 while this and all tokens before are the exact model's, else 0
  std::int64_t sameAsPerturbed = -1; ///< the same against this policy once more with embedded rows perturbed: the noise
                                     ///< floor; -1: not measured
  std::int64_t cacheTokens = 0;      ///< that the cache held when the token was drawn: prompt + step
  /// Of the cache then; of the exact model, which keeps FP32: its FP16 KV, for comparison. Allocated and accumulator as in
  /// PolicyRow.
  std::int64_t formatBytes = 0, allocatedBytes = 0, accumulatorBytes = 0;
  double seconds = 0; ///< since the prompt was fed, without pauses; all policies advance together

  template <class Self, class V> static void visit(Self &r, V &&v) {
    v("run", r.run), v("policy_index", r.policy), v("step", r.step), v("token", r.token), v("text", r.text);
    v("ends", r.ends), v("log_probability", r.logProbability), v("same_as_exact", r.sameAsExact);
    v("same_as_perturbed", r.sameAsPerturbed), v("cache_tokens", r.cacheTokens), v("format_bytes", r.formatBytes);
    v("allocated_bytes", r.allocatedBytes), v("accumulator_bytes", r.accumulatorBytes), v("seconds", r.seconds);
  }
};

/// Something about the data that a reader of the figures must know: saturated values, a NaN, a singular matrix.
struct ProblemRow {
  static constexpr const char *kTable = "problem";
  static constexpr Identity<5> kIdentity = {"policy_index", "window", "layer", "code", "text"};
  RowId id = 0;
  RowId run = 0;
  std::int64_t policy = -1, window = -1, layer = -1;
  std::string code; ///< "fp16-saturated", "not-finite", ...
  std::string text; ///< one sentence

  template <class Self, class V> static void visit(Self &r, V &&v) {
    v("run", r.run), v("policy_index", r.policy), v("window", r.window), v("layer", r.layer), v("code", r.code),
        v("text", r.text);
  }
};

/// The run log.
struct LogRow {
  static constexpr const char *kTable = "log";
  static constexpr Identity<2> kIdentity = {"utc", "text"};
  RowId id = 0;
  RowId run = 0;
  std::string utc;
  std::string level; ///< "info" | "warning" | "error"
  std::string text;

  template <class Self, class V> static void visit(Self &r, V &&v) {
    v("run", r.run), v("utc", r.utc), v("level", r.level), v("text", r.text);
  }
};

template <class... Records> struct RecordList {};
using AllRecords = RecordList<RunRow, RunEndRow, PolicyRow, WindowRow, PositionRow, NoiseRow, LayerErrorRow, SummaryRow,
                              SimilarityRow, OperationRow, StepRow, KernelRow, TrafficRow, ThroughputRow, InstrumentRow,
                              PeakRow, GeneratedRow, ProblemRow, LogRow>;

} // namespace xqs
