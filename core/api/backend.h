// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "error.h"
#include "instruments.h"
#include "packed.h"
#include "tensor.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace xqs {

class Backend;

struct Event {
  std::uint64_t id = 0;
};

/// Why memory is held. Cache bytes are counted where they are allocated: `Backend::allocated`.
enum class Purpose : std::uint8_t {
  Weights,
  Activations,
  CacheCodes,    ///< packed codes
  CacheScales,   ///< scales and zeros of packed codes
  CacheOutliers, ///< channels and first tokens kept in FP16
  CacheExact,    ///< FP16 rows: residual tokens, FP16 tensors
  Accumulator,   ///< a cross-layer running sum: working memory, listed apart from the cache (method.md 4)
  Scratch,
  Count
};

/// Where memory lies. Host: in the host's memory, for a cache that does not fit the device; operations read and write it in
/// place, over the bus. On the CPU both are the same.
enum class Placement : std::uint8_t { Device, Host };

/// Owning block of backend memory. Zero-filled when allocated, but for `Purpose::Scratch`, whose contents are anything.
/// Scratch is for the compute queue alone: given back, it may be handed out again while earlier operations of that queue
/// still run. Move-only.
class Buffer {
public:
  Buffer() = default;
  Buffer(Backend *owner, std::byte *data, Index bytes, Purpose purpose, Placement placement = Placement::Device)
      : m_owner(owner), m_data(data), m_bytes(bytes), m_purpose(purpose), m_placement(placement) {}
  Buffer(Buffer &&o) noexcept { *this = std::move(o); }
  inline Buffer &operator=(Buffer &&o) noexcept;
  inline ~Buffer();

  std::byte *data() const { return m_data; }
  Index bytes() const { return m_bytes; }
  Purpose purpose() const { return m_purpose; }
  Placement placement() const { return m_placement; }
  explicit operator bool() const { return m_data != nullptr; }
  /// The first rows * cols elements as a matrix.
  View view(DType type, Index rows, Index cols) const {
    XQS_ASSERT(rows * cols * sizeOf(type) <= m_bytes);
    return {m_data, type, rows, cols};
  }
  View f32(Index rows, Index cols) const { return view(DType::F32, rows, cols); }

private:
  Backend *m_owner = nullptr;
  std::byte *m_data = nullptr;
  Index m_bytes = 0;
  Purpose m_purpose = Purpose::Scratch;
  Placement m_placement = Placement::Device;
};

/// From which token on a query reads unquantized (FP16) rows; tokens before it come out of the packed cache (method.md 5,
/// state `stream`). `block`: floor(t / block) * block (open per-channel groups). `window`: t - window (sliding residual).
/// Neither: everything comes out of the cache, the own token too.
struct ExactFrom {
  Index block = 0;
  Index window = 0;
  constexpr Index operator()(Index query) const {
    if (block > 0) return query / block * block;
    if (window > 0) return query > window ? query - window : 0;
    return query + 1;
  }
  constexpr bool never() const { return block == 0 && window == 0; }
  friend constexpr bool operator==(ExactFrom, ExactFrom) = default;
};

/// K or V of tokens [first, first + stored.rows) as one query step reads them. Token j is row j - first of `stored`; where
/// j >= from(query), it is row j - exactBegin of `exact` instead (which then holds tokens from exactBegin on).
struct AttentionSide {
  ConstView stored; ///< [tokens, heads * width] fp32
  ConstView exact;  ///< [tokens - (exactBegin - first), heads * width] fp32; empty where `from.never()`
  Index exactBegin = 0;
  ExactFrom from;
  Index heads = 1; ///< query head h reads head h / (H / heads): Hkv, or 1 where K or V is absorbed
};

/// Causal attention of n queries at positions firstQuery.. over the tokens of one chunk, first to last. A whole context is
/// one call (`first` = 0 and the last query's token in the chunk) or a call a chunk in ascending order: between calls `out`
/// is the sum of weights times values and `running` keeps what it was summed with, so that K and V never have to be rebuilt
/// for all tokens at once. Running softmax: arXiv 2205.14135, sec. 3.1.
struct AttentionArgs {
  ConstView q; ///< [n, H * dh] fp32, after RoPE
  Index firstQuery = 0;
  Index first = 0; ///< first token of the chunk; multiple of nothing, but the same cuts give the same bits
  AttentionSide k; ///< width dh, after RoPE
  AttentionSide v; ///< width dv (dh, or the stored width where V is absorbed)
  Index heads = 0; ///< H
  float scale = 1; ///< 1 / sqrt(dh)
  View running;    ///< [n, 2 H] fp32: maximum and sum, per head; may be empty where one call is the whole context
  View out;        ///< [n, H * dv] fp32
  Index end() const { return first + k.stored.rows; }
  bool last() const { return end() >= firstQuery + q.rows; }
};

/// K or V of one decoding step as the cache holds it, for operations that read it where it lies.
struct StoredSide {
  /// Tokens in order; the blocks of a side behind each other are tokens 0 .. end. A row is `outliers` FP16 channels, then
  /// the body: packed codes, or where there are none plain FP16 or FP32.
  struct Block {
    Index rows = 0;
    PackedView packed;  ///< its rows firstRow .. firstRow + rows; of width - outliers channels
    Index firstRow = 0; ///< Axis::Channel: a multiple of the group
    ConstView plain;    ///< [rows, width - outliers]; empty where packed
    ConstView outliers; ///< [rows, outliers] FP16; empty where there are none
  };
  std::vector<Block> blocks;
  ConstView sinks;              ///< [s, width] FP16: stand for the first s tokens
  Index width = 0;              ///< channels of a stored row
  Index heads = 1;              ///< of what attention reads: Hkv, or 1 where the map is absorbed
  ConstView map, bias;          ///< K or V = row map^T + bias; [heads * dh, width], [1, heads * dh]; empty: the row itself
  std::span<const double> rope; ///< K is rotated behind the map (Backend::rope); empty: not
  Index tokens() const {
    Index sum = 0;
    for (const Block &b : blocks) sum += b.rows;
    return sum;
  }
};

/// Attention of the one query of a decoding step over all tokens of its cache.
struct StoredAttention {
  ConstView q; ///< [1, H * dh] fp32, after RoPE
  StoredSide k, v;
  Index heads = 0; ///< H
  float scale = 1; ///< 1 / sqrt(dh)
  View out;        ///< [1, H * dv] fp32; dv = v.width where V has no map and one head, else dh
};

/// One scored position, nats. `kl` = KL(exact || policy) and `sameTop` compare with the exact logits of the same position.
struct Score {
  float nll = 0;
  float kl = 0;
  std::int32_t top = 0;     ///< argmax (lowest id on ties)
  std::int32_t sameTop = 1; ///< 1 where the exact model's argmax is the same
};

/// Reduction of one captured tensor [n, w]: about 2 KB whatever its size. Sums are FP64.
struct Summary {
  static constexpr int kBins = 128;
  static constexpr int kTopChannels = 8;
  Index count = 0;
  double mean = 0, variance = 0; ///< population variance
  float min = 0, max = 0;
  float histogramMin = 0, histogramMax = 0;            ///< the bins cut [histogramMin, histogramMax] evenly, ends clamped in
  std::array<std::uint32_t, kBins> histogram{};        ///< counts
  std::array<std::int32_t, kTopChannels> topChannel{}; ///< channels with the largest mean |x|, descending; -1 = none
  std::array<float, kTopChannels> topMeanAbs{};
};

/// Sums for relative errors: relative Frobenius error = sqrt(errorSquares / exactSquares).
struct ErrorSums {
  double errorSquares = 0;
  double exactSquares = 0;
  float maxAbsError = 0;
};

/// Memory and about 25 operations; knows no model and no policy. Views are this backend's memory; FP32 unless said
/// otherwise; in and out must not overlap unless an operation says so. Operations throw Error on an exhausted or broken
/// device only: a wrong shape is a bug (XQS_ASSERT).
///
/// The reference backend (plain loops, one fixed summation order per output element, whatever the number of rows) is the
/// definition; every other backend agrees with it within rounding. On one backend the same input gives the same bits
/// whatever the thread count.
class Backend {
public:
  virtual ~Backend() = default;

  virtual const char *name() const = 0;
  virtual std::string device() const = 0; ///< for people: processor, instruction set, threads
  virtual bool hostVisible() const = 0;   ///< host code may read and write buffers directly
  /// False where this backend is the definition: forms that are equal in exact arithmetic are then never exchanged for
  /// speed.
  virtual bool mayReorder() const { return true; }
  /// Type that matrices of weights are kept in: what `matmul` takes for W beside FP32. Vectors (norms, biases) are FP32.
  virtual DType weightType() const { return DType::F32; }
  /// True where attendStored and rebuildStored have kernels: else nobody describes stored rows to them.
  virtual bool readsStored() const { return false; }
  /// Bytes of device memory that can still be allocated; < 0: not known.
  virtual Index freeBytes() const { return -1; }

  // Memory ------------------------------------------------------------------------------------------------------------
  /// Throws OutOfMemory with the bytes needed and what for.
  Buffer allocate(Index bytes, Purpose purpose, Placement placement = Placement::Device);
  Index allocated(Purpose purpose) const { return m_allocated[static_cast<std::size_t>(purpose)]; } ///< bytes held now
  virtual void upload(Queue, std::byte *dst, const void *hostSrc, Index bytes) = 0;
  virtual void download(Queue, void *hostDst, const std::byte *src, Index bytes) = 0;
  virtual void copy(Queue, ConstView src, View dst) = 0; ///< same type and shape; may overlap

  // Order -------------------------------------------------------------------------------------------------------------
  virtual Event record(Queue) { return {}; }
  virtual void wait(Queue, Event) {}
  virtual void sync(Queue) {}
  /// What is called on the compute queue, and on others that wait for it and that it waits for again, between gather and
  /// submit may run as one (a CUDA graph): there is no sync, download or upload in between, and host arguments are read at
  /// once. The same sequence of operations step after step is fastest. `drop` instead of submit: nothing of it runs. See
  /// Gathered.
  virtual void gather() {}
  virtual void submit() {}
  virtual void drop() noexcept {}
  /// Results that were asked for and not yet synchronized are written nowhere any more. See ResultsGuard.
  virtual void forgetResults() noexcept {}

  // Transformer -------------------------------------------------------------------------------------------------------
  /// out[i, :] = table[tokens[i], :]. table: [vocab, d] fp32 or `weightType()`, tokens: host memory, out: [n, d].
  virtual void embed(Queue, ConstView table, std::span<const std::int32_t> tokens, View out);
  /// out = x / sqrt(mean(x^2) + eps) * weight, row by row. x, out: [n, d] (may be the same view), weight: [1, d].
  virtual void rmsNorm(Queue, ConstView x, ConstView weight, float eps, View out);
  /// Rotates adjacent pairs (2j, 2j+1) of every head of x [n, heads * dh] in place by position * frequency[j];
  /// frequency: host memory, dh / 2 values, angles formed in double precision.
  virtual void rope(Queue, View x, Index heads, Index firstPosition, std::span<const double> frequency);
  /// out = x W^T (+ out where `accumulate`). x: [n, k], W: [m, k] fp32 or `weightType()`, out: [n, m]. Sums are FP32; x is
  /// not rounded to the weights' type.
  virtual void matmul(Queue, ConstView x, ConstView w, View out, bool accumulate = false);
  /// The same for the rows of `lanes` sequences behind each other, equally many each: a lane's bits are those that matmul of
  /// its rows alone gives. Default: one matmul, for backends where a row's bits do not depend on the rows beside it.
  virtual void matmulLanes(Queue, Index lanes, ConstView x, ConstView w, View out, bool accumulate = false);
  /// Every head by itself, out_h = x_h W_g^T, where head h reads block g = h / (heads / kvHeads) of W.
  /// x: [n, heads * k], W: [kvHeads * m, k], out: [n, heads * m]. Default: a matmul a head.
  virtual void matmulHeads(Queue, Index heads, Index kvHeads, ConstView x, ConstView w, View out);
  virtual void add(Queue, ConstView a, ConstView b, View out);         ///< out = a + b; out may be a or b
  virtual void addRow(Queue, View x, ConstView row);                   ///< x[i, :] += row for every i; row: [1, x.cols]
  virtual void subtract(Queue, ConstView a, ConstView b, View out);    ///< out = a - b; out may be a or b
  virtual void scale(Queue, View x, float factor);                     ///< x *= factor, in place
  virtual void siluMul(Queue, ConstView gate, ConstView up, View out); ///< out = gate * sigmoid(gate) * up; may alias
  virtual void attention(Queue, const AttentionArgs &args);
  /// Decoding attention without K or V in memory. False where the backend has no kernel for this form: nothing was done, and
  /// the caller goes by rebuilt chunks and `attention`, which is the definition.
  virtual bool attendStored(Queue, const StoredAttention &) { return false; }
  /// K or V of tokens `range`: rows through map, bias and rotation; out [range.size(), heads * dh] fp32 or fp16. False as
  /// above.
  virtual bool rebuildStored(Queue, const StoredSide &, TokenRange, View /*out*/) { return false; }
  /// NLL of `targets` (host memory, n ids) under logits [n, vocab]; KL and top-1 against `exact` [n, vocab] where it is not
  /// empty. scores: host memory, n rows, valid after sync. Softmax in FP32 with the maximum taken out, sums in FP64.
  virtual void score(Queue, ConstView exact, ConstView logits, std::span<const std::int32_t> targets,
                     std::span<Score> scores);

  // Packed cache ------------------------------------------------------------------------------------------------------
  /// Converts between FP32 and FP16 storage (or copies); FP16 saturates and counts.
  virtual void convert(Queue, ConstView src, View dst);
  /// Packs rows of x [n, width] into dst rows [firstRow, firstRow + n). Axis::Channel: firstRow and n are multiples of the
  /// group. Per group, in FP32: mn, mx = min, max; scale = fp16((mx - mn) / (2^bits - 1)); zero = fp16(mn); code =
  /// clamp(rint((x - fp32(zero)) / fp32(scale)), 0, 2^bits - 1); scale 0 gives code 0. Scales and zeros beyond FP16 saturate
  /// and count (method.md 2). A NaN in x is read as 0, an infinity as the largest FP32 of its sign: one broken value spoils
  /// its group alone, and every backend gives the same codes.
  virtual void quantize(Queue, ConstView x, const PackedView &dst, Index firstRow);
  /// out [range.size(), width] = code * scale + zero, one FP32 multiply and one add (not fused: every backend gives the same
  /// bits), added to out where `accumulate`.
  virtual void dequantize(Queue, const PackedView &src, TokenRange range, View out, bool accumulate = false);
  /// out = dequantize(src, range) W^T. Default: through scratch; a fused form is a backend's speed-up.
  virtual void dequantMatmul(Queue, const PackedView &src, TokenRange range, ConstView w, View out);

  // Capture -----------------------------------------------------------------------------------------------------------
  /// summary: host memory, valid after sync. histogramMin == histogramMax on entry: bins cut [min, max] of x itself, else
  /// the given range is used (two tensors overlaid).
  virtual void summarize(Queue, ConstView x, Summary &summary);
  /// Adds sum((a - b)^2), sum(a^2) of [n, w] to `sums` (host memory, valid after sync).
  virtual void compare(Queue, ConstView exact, ConstView approx, ErrorSums &sums);
  /// cosine[i * L + j] = mean over rows of the cosine between row r of layers[i] and of layers[j] (0 where a row is 0).
  /// All [n, w]; cosine: host memory, L * L, valid after sync.
  virtual void similarity(Queue, std::span<const ConstView> layers, std::span<float> cosine);

  // Observation -------------------------------------------------------------------------------------------------------
  /// Values that did not fit FP16 since the last call (the caller records a problem).
  virtual std::int64_t takeSaturated() { return 0; }
  /// Operations called since creation: "captures off costs nothing" is proven by counting.
  std::uint64_t operations() const { return m_operations; }
  /// While a sink is set every operation is reported to it, at the latest in the next sync, and none is gathered.
  void setTrace(TraceSink sink) { m_trace = std::move(sink); }
  /// Says what the operations that follow are for; a tag sink hears it first.
  void setTag(const Tag &tag) {
    m_tag = tag;
    if (m_tagSink) m_tagSink(tag);
  }
  void setTagSink(TagSink sink) { m_tagSink = std::move(sink); }
  virtual Instruments &instruments() {
    if (!m_instruments) m_instruments = std::make_unique<Instruments>(*this);
    return *m_instruments;
  }

protected:
  friend class Buffer;
  /// 64-byte aligned, zero-filled where `Buffer` says so; null where there is no memory.
  virtual std::byte *allocateBytes(Index bytes, Purpose purpose, Placement placement) = 0;
  virtual void releaseBytes(const Buffer &buffer) noexcept = 0;
  [[noreturn]] void unsupported(const char *op) const;

  TraceSink m_trace;
  TagSink m_tagSink;
  Tag m_tag;
  std::uint64_t m_operations = 0;
  std::unique_ptr<Instruments> m_instruments; ///< made when first asked for

private:
  std::array<Index, static_cast<std::size_t>(Purpose::Count)> m_allocated{};
};

/// Operations that are gathered while it lives, run by `submit`, dropped where an exception comes before it.
class Gathered {
public:
  /// `on` false: they run one by one.
  Gathered(Backend &backend, bool on) : m_backend(on ? &backend : nullptr) {
    if (on) backend.gather();
  }
  ~Gathered() {
    if (m_backend != nullptr) m_backend->drop();
  }
  Gathered(const Gathered &) = delete;
  Gathered &operator=(const Gathered &) = delete;
  void submit() {
    if (Backend *const backend = std::exchange(m_backend, nullptr)) backend->submit();
  }

private:
  Backend *m_backend;
};

/// Stands where host memory of the caller is given for results (`Score`, `Summary`, `ErrorSums`) up to their sync: where an
/// exception comes between, the memory may go.
class ResultsGuard {
public:
  explicit ResultsGuard(Backend &backend) : m_backend(backend) {}
  ~ResultsGuard() {
    if (std::uncaught_exceptions() > m_exceptions) m_backend.forgetResults();
  }
  ResultsGuard(const ResultsGuard &) = delete;
  ResultsGuard &operator=(const ResultsGuard &) = delete;

private:
  Backend &m_backend;
  int m_exceptions = std::uncaught_exceptions();
};

constexpr const char *purposeName(Purpose p) {
  constexpr const char *kNames[] = {"weights",        "activations",    "cache codes", "cache scales",
                                    "cache outliers", "cache residual", "accumulator", "scratch"};
  return kNames[static_cast<std::size_t>(p)];
}

inline Buffer &Buffer::operator=(Buffer &&o) noexcept {
  std::swap(m_owner, o.m_owner);
  std::swap(m_data, o.m_data);
  std::swap(m_bytes, o.m_bytes);
  std::swap(m_purpose, o.m_purpose);
  std::swap(m_placement, o.m_placement);
  return *this;
}
inline Buffer::~Buffer() {
  if (m_data == nullptr) return;
  m_owner->m_allocated[static_cast<std::size_t>(m_purpose)] -= m_bytes;
  m_owner->releaseBytes(*this);
}

inline Buffer Backend::allocate(Index bytes, Purpose purpose, Placement placement) {
  if (bytes <= 0) return {};
  std::byte *data = allocateBytes(bytes, purpose, placement);
  if (data == nullptr)
    throw Error(Code::OutOfMemory, std::string("backend ") + name() + ": no memory for " + std::to_string(bytes) +
                                       " bytes of " + purposeName(purpose) +
                                       "; use a shorter window, fewer policies at once or a smaller model");
  m_allocated[static_cast<std::size_t>(purpose)] += bytes;
  return {this, data, bytes, purpose, placement};
}

inline void Backend::unsupported(const char *op) const {
  throw Error(Code::BackendUnusable, std::string("backend ") + name() + " has no operation '" + op + "'; use --backend cpu");
}

// A backend that lacks an operation says so by name when it is called.
inline void Backend::embed(Queue, ConstView, std::span<const std::int32_t>, View) { unsupported("embed"); }
inline void Backend::rmsNorm(Queue, ConstView, ConstView, float, View) { unsupported("rmsNorm"); }
inline void Backend::rope(Queue, View, Index, Index, std::span<const double>) { unsupported("rope"); }
inline void Backend::matmul(Queue, ConstView, ConstView, View, bool) { unsupported("matmul"); }
inline void Backend::matmulLanes(Queue queue, Index, ConstView x, ConstView w, View out, bool accumulate) {
  matmul(queue, x, w, out, accumulate);
}
inline void Backend::matmulHeads(Queue queue, Index heads, Index kvHeads, ConstView x, ConstView w, View out) {
  const Index k = x.cols / heads, m = out.cols / heads;
  for (Index h = 0; h < heads; ++h)
    matmul(queue, x.colRange(h * k, k), w.rowRange(h / (heads / kvHeads) * m, m), out.colRange(h * m, m));
}
inline void Backend::add(Queue, ConstView, ConstView, View) { unsupported("add"); }
inline void Backend::addRow(Queue, View, ConstView) { unsupported("addRow"); }
inline void Backend::subtract(Queue, ConstView, ConstView, View) { unsupported("subtract"); }
inline void Backend::scale(Queue, View, float) { unsupported("scale"); }
inline void Backend::siluMul(Queue, ConstView, ConstView, View) { unsupported("siluMul"); }
inline void Backend::attention(Queue, const AttentionArgs &) { unsupported("attention"); }
inline void Backend::score(Queue, ConstView, ConstView, std::span<const std::int32_t>, std::span<Score>) {
  unsupported("score");
}
inline void Backend::convert(Queue, ConstView, View) { unsupported("convert"); }
inline void Backend::quantize(Queue, ConstView, const PackedView &, Index) { unsupported("quantize"); }
inline void Backend::dequantize(Queue, const PackedView &, TokenRange, View, bool) { unsupported("dequantize"); }
inline void Backend::dequantMatmul(Queue queue, const PackedView &src, TokenRange range, ConstView w, View out) {
  const Buffer scratch = allocate(range.size() * src.width * sizeOf(DType::F32), Purpose::Scratch);
  const View rows = scratch.f32(range.size(), src.width);
  dequantize(queue, src, range, rows);
  matmul(queue, rows, w, out);
}
inline void Backend::summarize(Queue, ConstView, Summary &) { unsupported("summarize"); }
inline void Backend::compare(Queue, ConstView, ConstView, ErrorSums &) { unsupported("compare"); }
inline void Backend::similarity(Queue, std::span<const ConstView>, std::span<float>) { unsupported("similarity"); }

// Instruments of a backend that has none of its own ------------------------------------------------------------------------

inline std::vector<InstrumentStatus> Instruments::status() {
  const std::string none = std::string("backend ") + m_backend.name() + " has no counters: bytes are counted from shapes";
  return {{Instrument::Timeline, InstrumentState::Ready, "every operation is timed by the steady clock", "steady clock", {}},
          {Instrument::Counters, InstrumentState::NotOnThisDevice, none, {}, {}},
          {Instrument::Sampling, InstrumentState::NotOnThisDevice, none, {}, {}}};
}
inline void Instruments::startTimeline() {
  m_timeline = {};
  m_backend.setTrace([this](const KernelRecord &record) { m_timeline.records.push_back(record); });
}
inline Instruments::Timeline Instruments::stopTimeline() {
  for (const Queue queue : {Queue::Compute, Queue::Copy, Queue::Rebuild}) m_backend.sync(queue);
  m_backend.setTrace({});
  const auto earlier = [](const KernelRecord &a, const KernelRecord &b) { return a.startNs < b.startNs; };
  std::stable_sort(m_timeline.records.begin(), m_timeline.records.end(), earlier);
  return std::exchange(m_timeline, {});
}
inline Instruments::Counted Instruments::count(CounterSet, RangeBy, const std::function<void()> &) {
  throw Error(Code::Unsupported, status()[static_cast<std::size_t>(Instrument::Counters)].sentence);
}
inline void Instruments::startSampling(std::int64_t) {
  throw Error(Code::Unsupported, status()[static_cast<std::size_t>(Instrument::Sampling)].sentence);
}
inline std::vector<ThroughputSample> Instruments::takeSamples() { return {}; }
inline void Instruments::stopSampling() {}

// Modules -----------------------------------------------------------------------------------------------------------------

/// Raised on every change of this header.
constexpr std::uint32_t kBackendAbi = 6;

/// One backend as a table, built in or loaded from `libxqs_<name>.so`, whose only export is
/// `extern "C" const XqsBackendModule *xqsBackendModule()`.
struct XqsBackendModule {
  std::uint32_t abi; ///< kBackendAbi of the headers it was compiled with; checked before anything else is read
  const char *name;
  const char *description;
  /// Null where usable, else one sentence that says why not. Never crashes, whatever the machine lacks.
  const char *(*unusable)();
  /// `threads` <= 0: one a core. Throws Error where unusable.
  Backend *(*create)(int threads);
  void (*destroy)(Backend *);
};

} // namespace xqs
