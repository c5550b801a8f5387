// SPDX-License-Identifier: Apache-2.0
#include "run/profile_peaks.h"

#include "engine/seconds.h"
#include "model/random.h"
#include "run/memory_fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace xqs {

namespace {

constexpr Queue kQueue = Queue::Compute;
constexpr int kTries = 5;
constexpr double kTry = 0.01; ///< seconds of one, at least, where a few repeats reach that
constexpr int kMostRepeats = 64;
constexpr double kLongEnough = 0.1;                    ///< seconds of one operation: larger blocks would say the same
constexpr Index kLeastBlock = 1 << 20, kMib = 1 << 20; ///< bytes
constexpr Index kMostBlock = 256 * kMib;               ///< two of them do not fit any cache
constexpr Index kLeastSide = 128, kMostSide = 4096;    ///< of matrices

class Peaks {
public:
  Peaks(Backend &backend, const std::stop_token &stop) : m_backend(backend), m_stop(stop) {}

  std::vector<PeakRow> measure() {
    addCopy(), addMatmul();
    if (!m_backend.hostVisible()) addHostCopy();
    return std::move(m_rows);
  }

private:
  /// Seconds of one `work` in the fastest of a few tries, each long enough that starting it and waiting do not count.
  template <class Work> double best(Queue queue, const Work &work) {
    const auto time = [&](int repeats) {
      if (m_stop.stop_requested()) throw Error(Code::Cancelled, "cancelled");
      m_backend.sync(queue);
      const auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < repeats; ++i) work();
      m_backend.sync(queue);
      return secondsSince(start) / repeats;
    };
    double seconds = time(1);
    for (int i = 1; i < kTries && (i < 2 || seconds < kLongEnough); ++i)
      seconds = std::min(seconds, time(std::clamp(static_cast<int>(kTry / seconds), 1, kMostRepeats)));
    return seconds;
  }

  /// False where `bytes` are more than a quarter of what is free.
  bool fits(Index bytes) const {
    const Index free = freeMemory(m_backend);
    return free < 0 || bytes <= free / 4;
  }

  static View viewOf(const Buffer &buffer) {
    constexpr Index kColumns = 4096;
    return buffer.f32(buffer.bytes() / kColumns / sizeOf(DType::F32), kColumns);
  }

  void addCopy() {
    double copied = 0, summed = 0, read = 0;
    Index used = 0;
    for (Index bytes = kLeastBlock; bytes <= kMostBlock && fits(2 * bytes); bytes *= 2) {
      const Buffer a = m_backend.allocate(bytes, Purpose::Activations), b = m_backend.allocate(bytes, Purpose::Activations);
      for (const Buffer *const block : {&a, &b}) m_backend.scale(kQueue, viewOf(*block), 1); // pages that are really there
      const double copy = best(kQueue, [&] { m_backend.copy(kQueue, viewOf(a), viewOf(b)); });
      const double sum = best(kQueue, [&] { m_backend.add(kQueue, viewOf(a), viewOf(b), viewOf(b)); });
      // As decoding has them: one row with a matrix, of which almost all is read.
      const View matrix = viewOf(a), row = b.f32(1, matrix.cols), image(b.data() + bytes / 2, DType::F32, 1, matrix.rows);
      const double product = best(kQueue, [&] { m_backend.matmul(kQueue, row, matrix, image, false); });
      copied = 2 * static_cast<double>(bytes) / copy, summed = 3 * static_cast<double>(bytes) / sum;
      read = static_cast<double>(bytes) / product, used = bytes;
      if (std::max({copy, sum, product}) > kLongEnough) break;
    }
    if (used > 0)
      add("copy", std::max({copied, summed, read}),
          fmt::format(
              "the fastest on blocks of {} MiB: copied at {:.1f} GB/s, summed at {:.1f} GB/s, both read and written; "
              "multiplied with a vector at {:.1f} GB/s, read",
              used / kMib, 1e-9 * copied, 1e-9 * summed, 1e-9 * read));
  }

  /// Numbers of a usual range: a device may be faster, and cooler, on zeros.
  void fill(const Buffer &buffer) const {
    std::vector<float> table(static_cast<std::size_t>(std::min(buffer.bytes(), kMib) / sizeOf(DType::F32)));
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = nearNormal(mix(i));
    const Index bytes = std::ssize(table) * sizeOf(DType::F32);
    for (Index at = 0; at < buffer.bytes(); at += bytes)
      m_backend.upload(kQueue, buffer.data() + at, table.data(), std::min(bytes, buffer.bytes() - at));
    m_backend.sync(kQueue);
  }

  /// FP32 rows meet FP16 weights as two FP16 rows, whose sum they are: two products, and as many FLOPs, are done for one.
  void addMatmul() {
    double rate = 0;
    Index used = 0;
    const DType type = m_backend.weightType();
    const double products = type == DType::F16 ? 2 : 1;
    for (Index n = kLeastSide; n <= kMostSide && fits(3 * n * n * sizeOf(DType::F32)); n *= 2) {
      const auto matrix = [&](DType t) { return m_backend.allocate(n * n * sizeOf(t), Purpose::Activations); };
      const Buffer x = matrix(DType::F32), w = matrix(type), out = matrix(DType::F32);
      fill(x);
      m_backend.convert(kQueue, x.f32(n, n), w.view(type, n, n));
      const double seconds = best(kQueue, [&] { m_backend.matmul(kQueue, x.f32(n, n), w.view(type, n, n), out.f32(n, n)); });
      const auto side = static_cast<double>(n);
      rate = std::max(rate, products * 2 * side * side * side / seconds), used = n;
      if (seconds > kLongEnough) break;
    }
    if (used > 0)
      add("matmul", rate,
          fmt::format("square matrices up to {0} x {0}, FP32 rows on {1}, FP32 sums", used,
                      type == DType::F16 ? "FP16 weights (the rows split into two FP16 parts: both products count)"
                                         : "FP32 weights"));
  }

  void addHostCopy() {
    double rate = 0;
    Index used = 0;
    for (Index bytes = kLeastBlock; bytes <= kMostBlock && fits(bytes); bytes *= 2) {
      const Buffer host = m_backend.allocate(bytes, Purpose::Activations, Placement::Host);
      const Buffer device = m_backend.allocate(bytes, Purpose::Activations);
      const double seconds = best(Queue::Copy, [&] { m_backend.upload(Queue::Copy, device.data(), host.data(), bytes); });
      rate = std::max(rate, static_cast<double>(bytes) / seconds), used = bytes;
      if (seconds > kLongEnough) break;
    }
    if (used > 0)
      add("host-copy", rate, fmt::format("blocks of up to {} MiB of page-locked memory to the device", used / kMib));
  }

  void add(const char *name, double value, std::string text) {
    PeakRow &row = m_rows.emplace_back();
    row.name = name, row.value = value, row.text = std::move(text);
  }

  Backend &m_backend;
  const std::stop_token &m_stop;
  std::vector<PeakRow> m_rows;
};

} // namespace

std::vector<PeakRow> measurePeaks(Backend &backend, const std::stop_token &stop) { return Peaks(backend, stop).measure(); }

} // namespace xqs
