// SPDX-License-Identifier: Apache-2.0
// Operations of the CUDA module beside what the same device does in the same run: copies for what moves bytes, a matrix
// product for what computes. Not a test: `--quick` only shows that every line can be measured (tiny sizes, any machine:
// XQSCOPE_BACKEND_PATH names the emulated module).
//
//   cuda_bench [--quick] [--json FILE]
#include "attention_args.h"
#include "run/backends.h"
#include "run/machine.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <random>

using namespace xqs;

namespace {

constexpr Queue kQ = Queue::Compute;

struct Options {
  bool quick = false;
  std::string json;
};

Options parseOptions(int argc, char **argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--quick")
      options.quick = true;
    else if (argument == "--json" && i + 1 < argc)
      options.json = argv[++i];
    else
      throw Error(Code::Usage, fmt::format("unknown argument '{}'; use [--quick] [--json FILE]", argument));
  }
  return options;
}

/// One measured operation. Bytes and FLOPs are counted from shapes; 0: not what the operation is about.
struct Line {
  std::string name;
  double seconds = 0; ///< of one call; < 0: the backend has no kernel for it
  double bytes = 0, flops = 0;
  bool hasKernel() const { return seconds >= 0; }
};

/// A model's attention.
struct Shape {
  const char *name;
  Index d, heads, kvHeads, dh;
  Index dkv() const { return kvHeads * dh; }
};

class Bench {
public:
  Bench(Backend &backend, bool quick) : m_backend(backend), m_quick(quick) {}

  std::vector<Line> run() {
    limits();
    prefill();
    packing();
    rows();
    for (const Shape &shape : shapes()) stored(shape);
    return std::move(m_lines);
  }

private:
  Index size(Index full, Index quick) const { return m_quick ? quick : full; }
  std::vector<Shape> shapes() const {
    if (m_quick) return {{"tiny MHA", 64, 2, 2, 32}, {"tiny GQA", 64, 4, 2, 16}};
    return {{"Llama-2-7B", 4096, 32, 32, 128}, {"Llama-3.1-8B", 4096, 32, 8, 128}};
  }

  // Measuring -----------------------------------------------------------------------------------------------------------

  double secondsOf(const std::function<void()> &work, int repetitions) {
    m_backend.sync(kQ);
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < repetitions; ++i) work();
    m_backend.sync(kQ);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / repetitions;
  }
  /// Median of batches that are long enough for the wall clock, behind one call that is not counted.
  double seconds(const std::function<void()> &work) {
    const double first = secondsOf(work, 1);
    if (m_quick) return first;
    constexpr double kBatch = 0.02;
    const int repetitions = static_cast<int>(std::clamp(kBatch / secondsOf(work, 3), 1.0, 2000.0));
    std::array<double, 7> batches{};
    for (double &b : batches) b = secondsOf(work, repetitions);
    std::nth_element(batches.begin(), batches.begin() + 3, batches.end());
    return batches[3];
  }
  void measure(std::string name, double bytes, double flops, const std::function<void()> &work) {
    m_lines.push_back({std::move(name), seconds(work), bytes, flops});
  }
  /// For operations that a backend may not have.
  void measureIfThere(std::string name, double bytes, double flops, const std::function<bool()> &work) {
    const double time = work() ? seconds([&] { work(); }) : -1;
    m_lines.push_back({std::move(name), time, bytes, flops});
  }

  // Operands ------------------------------------------------------------------------------------------------------------

  Buffer zeros(Index bytes) { return m_backend.allocate(bytes, Purpose::Activations); }
  /// [rows, cols] fp32; the same values again and again.
  Buffer random(Index rows, Index cols) {
    Buffer buffer = zeros(rows * cols * 4);
    std::vector<float> values(static_cast<std::size_t>(std::min<Index>(rows * cols, 1 << 20)));
    std::normal_distribution<float> normal;
    for (float &v : values) v = normal(m_rng);
    for (Index at = 0; at < rows * cols; at += static_cast<Index>(values.size()))
      m_backend.upload(kQ, buffer.data() + at * 4, values.data(),
                       std::min<Index>(static_cast<Index>(values.size()), rows * cols - at) * 4);
    m_backend.sync(kQ);
    return buffer;
  }
  /// The same in FP16, or in what the backend keeps weights in.
  Buffer randomOf(DType type, Index rows, Index cols) {
    Buffer wide = random(rows, cols);
    if (type == DType::F32) return wide;
    Buffer narrow = zeros(rows * cols * sizeOf(type));
    m_backend.convert(kQ, wide.f32(rows, cols), narrow.view(type, rows, cols));
    m_backend.sync(kQ);
    return narrow;
  }

  struct Packed {
    Buffer codes, scales;
    PackedView view;
  };
  Packed packed(const QuantFormat &format, Index rows, Index width) {
    const Index pairs = format.scaleCount(rows, width);
    Packed p{zeros(rows * format.codeBytesPerRow(width)), zeros(pairs * 4), {}};
    Half *const scales = reinterpret_cast<Half *>(p.scales.data());
    p.view = {format, p.codes.data(), scales, scales + pairs, rows, width};
    return p;
  }

  // What is measured ----------------------------------------------------------------------------------------------------

  void limits() {
    const Index rows = size(1 << 15, 64), cols = size(1 << 13, 64); // 1 GiB
    {
      const Buffer from = random(rows, cols), to = zeros(rows * cols * 4);
      measure("copy", 8.0 * static_cast<double>(rows * cols), 0,
              [&] { m_backend.copy(kQ, from.f32(rows, cols), to.f32(rows, cols)); });
    }
    const Index n = size(4096, 64);
    const DType type = m_backend.weightType();
    const Buffer x = random(n, n), w = randomOf(type, n, n), out = zeros(n * n * 4);
    measure(fmt::format("matmul {0} x {0} x {0}", n), 0, 2.0 * static_cast<double>(n) * static_cast<double>(n * n),
            [&] { m_backend.matmul(kQ, x.f32(n, n), w.view(type, n, n), out.f32(n, n)); });
  }

  /// n queries at the end of a context of `tokens`, K and V in memory.
  void attention(const std::string &name, const Shape &s, Index n, Index tokens) {
    const Buffer q = random(n, s.heads * s.dh), k = random(tokens, s.dkv()), v = random(tokens, s.dkv()),
                 out = zeros(n * s.heads * s.dh * 4);
    AttentionArgs a;
    a.q = q.f32(n, s.heads * s.dh), a.out = out.f32(n, s.heads * s.dh);
    a.firstQuery = tokens - n, a.heads = s.heads, a.scale = 1 / std::sqrt(static_cast<float>(s.dh));
    a.k.stored = k.f32(tokens, s.dkv()), a.v.stored = v.f32(tokens, s.dkv());
    a.k.heads = a.v.heads = s.kvHeads;
    const bool decodes = n == 1;
    measure(fmt::format("attention {}, {} of {} tokens", name, n, tokens), decodes ? attentionBytes(a) : 0,
            decodes ? 0 : attentionFlops(a), [&] { m_backend.attention(kQ, a); });
  }
  void prefill() {
    const Shape small = m_quick ? Shape{"", 48, 3, 1, 16} : Shape{"", 576, 9, 3, 64};
    attention(m_quick ? "tiny" : "SmolLM2-135M", small, size(512, 40), size(512, 40));
    for (const Shape &s : shapes()) {
      attention(s.name, s, size(512, 40), size(512, 40));
      attention(s.name, s, size(4096, 70), size(4096, 70));
      attention(s.name, s, 1, size(512, 40));
    }
  }

  void packing() {
    const Index tokens = size(16384, 32), width = size(4096, 64), group = size(128, 16);
    const Buffer x = random(tokens, width), out = zeros(tokens * width * 4);
    for (const int bits : {2, 4, 8})
      for (const Axis axis : {Axis::Token, Axis::Channel}) {
        const Packed p = packed({bits, group, axis, 0}, tokens, width);
        const double bytes = bytesOf(x.f32(tokens, width)) + packedBytes(p.view, tokens);
        const std::string what = fmt::format("{} bits per {}", bits, axis == Axis::Token ? "token" : "channel");
        measure("quantize " + what, bytes, 0, [&] { m_backend.quantize(kQ, x.f32(tokens, width), p.view, 0); });
        measure("dequantize " + what, bytes, 0, [&] {
          m_backend.dequantize(kQ, p.view, {0, tokens}, out.f32(tokens, width));
        });
      }
  }

  void rows() {
    const Index n = size(4096, 32), width = size(4096, 64), group = size(128, 16);
    const DType type = m_backend.weightType();
    const Buffer x = random(n, width), w = randomOf(type, width, width), out = zeros(n * width * 4),
                 weight = random(1, width);
    const Packed p = packed({4, group, Axis::Token, 0}, n, width);
    m_backend.quantize(kQ, x.f32(n, width), p.view, 0);
    measure(fmt::format("dequantMatmul 4 bits, {} rows", n), 0,
            2.0 * static_cast<double>(n) * static_cast<double>(width * width), [&] {
              m_backend.dequantMatmul(kQ, p.view, {0, n}, w.view(type, width, width), out.f32(n, width));
            });
    measure("rmsNorm", 2 * bytesOf(x.f32(n, width)), 0,
            [&] { m_backend.rmsNorm(kQ, x.f32(n, width), weight.f32(1, width), 1e-5f, out.f32(n, width)); });
  }

  // The cache as it lies ------------------------------------------------------------------------------------------------

  /// One side of a cache in blocks, with the memory that it views.
  struct Stored {
    StoredSide side;
    std::vector<Packed> blocks;
    Buffer plain, map;
    double bytes = 0; ///< of the stored rows
  };
  Index blockRows() const { return size(512, 64); }
  Index context() const { return size(32768, 128); }

  Stored plainSide(Index width, Index heads) {
    Stored s;
    s.plain = randomOf(DType::F16, context(), width);
    const ConstView all = s.plain.view(DType::F16, context(), width);
    for (Index at = 0; at < context(); at += blockRows()) {
      StoredSide::Block block;
      block.rows = blockRows(), block.plain = all.rowRange(at, blockRows());
      s.side.blocks.push_back(block);
    }
    s.side.width = width, s.side.heads = heads, s.bytes = bytesOf(all);
    return s;
  }
  Stored packedSide(const QuantFormat &format, Index width, Index heads) {
    Stored s;
    const Buffer x = random(blockRows(), width);
    for (Index at = 0; at < context(); at += blockRows()) {
      s.blocks.push_back(packed(format, blockRows(), width));
      const PackedView view = s.blocks.back().view;
      m_backend.quantize(kQ, x.f32(blockRows(), width), view, 0);
      StoredSide::Block block;
      block.rows = blockRows(), block.packed = view;
      s.side.blocks.push_back(block);
      s.bytes += packedBytes(view, blockRows());
    }
    m_backend.sync(kQ);
    s.side.width = width, s.side.heads = heads;
    return s;
  }
  /// Rows of `width` channels that a map makes K or V of.
  Stored mappedSide(const QuantFormat &format, Index width, const Shape &shape, std::span<const double> rope) {
    Stored s = packedSide(format, width, shape.kvHeads);
    const DType type = m_backend.weightType();
    s.map = randomOf(type, shape.dkv(), width);
    s.side.map = s.map.view(type, shape.dkv(), width), s.side.rope = rope;
    return s;
  }
  /// Multiply-adds of a side's map over the context, 2 FLOPs each.
  double mapFlops(const Stored &s, Index tokens) const {
    return 2.0 * static_cast<double>(tokens) * static_cast<double>(s.side.map.rows * s.side.map.cols);
  }

  void attend(const std::string &name, const Shape &shape, const Stored &k, const Stored &v) {
    const Index dv = v.side.map.empty() && v.side.heads == 1 ? v.side.width : shape.dh;
    const Buffer q = random(1, shape.heads * shape.dh), out = zeros(shape.heads * dv * 4);
    const StoredAttention args{
        q.f32(1, shape.heads * shape.dh), k.side, v.side, shape.heads, 1 / std::sqrt(static_cast<float>(shape.dh)),
        out.f32(1, shape.heads * dv)};
    measureIfThere(fmt::format("attendStored {} {}", shape.name, name), k.bytes + v.bytes,
                   mapFlops(k, context()) + mapFlops(v, context()), [&] { return m_backend.attendStored(kQ, args); });
  }
  void rebuild(const std::string &name, const Shape &shape, const Stored &s) {
    const TokenRange range{0, size(4096, 128)};
    const Buffer out = zeros(range.size() * shape.dkv() * 2);
    const double share = static_cast<double>(range.size()) / static_cast<double>(context());
    measureIfThere(fmt::format("rebuildStored {} {}", shape.name, name), s.bytes * share + static_cast<double>(out.bytes()),
                   mapFlops(s, range.size()), [&] {
                     return m_backend.rebuildStored(kQ, s.side, range, out.view(DType::F16, range.size(), shape.dkv()));
                   });
  }

  void stored(const Shape &shape) {
    {
      const Stored k = plainSide(shape.dkv(), shape.kvHeads), v = plainSide(shape.dkv(), shape.kvHeads);
      attend("FP16", shape, k, v);
      rebuild("FP16 K", shape, k);
    }
    const Index group = size(128, 16);
    for (const int bits : {4, 2}) { // K per channel, V per token and head
      const Stored k = packedSide({bits, group, Axis::Channel, 0}, shape.dkv(), shape.kvHeads),
                   v = packedSide({bits, group, Axis::Token, shape.dh}, shape.dkv(), shape.kvHeads);
      attend(fmt::format("KIVI-{}", bits), shape, k, v);
      rebuild(fmt::format("KIVI-{} K", bits), shape, k);
    }
    std::vector<double> frequency;
    for (Index j = 0; j < shape.dh / 2; ++j)
      frequency.push_back(std::pow(1e4, -2.0 * static_cast<double>(j) / static_cast<double>(shape.dh)));
    // One X for both where K is as wide as the model, else a latent each for K and V.
    const Index width = shape.heads == shape.kvHeads ? shape.d : shape.dkv();
    for (const int bits : {4, 2}) {
      const Axis keyAxis = width == shape.d ? Axis::Token : Axis::Channel;
      const Stored k = mappedSide({bits, group, keyAxis, 0}, width, shape, frequency);
      Stored v = mappedSide({bits, group, Axis::Token, 0}, width, shape, {});
      if (width == shape.d) v.side.blocks = k.side.blocks, v.bytes = 0;
      attend(fmt::format("XQuant-{} rebuilt", bits), shape, k, v);
      rebuild(fmt::format("XQuant-{} K", bits), shape, k);
      v.side.map = {}, v.side.heads = 1;
      attend(fmt::format("XQuant-{} V absorbed", bits), shape, k, v);
    }
  }

  Backend &m_backend;
  const bool m_quick;
  std::mt19937 m_rng{1};
  std::vector<Line> m_lines;
};

BackendPtr cudaBackend() {
  const auto backends = listBackends({});
  for (const BackendInfo &info : backends)
    if (info.name == "cuda" && info.usable()) return createBackend(backends, "cuda", 0);
  for (const BackendInfo &info : backends)
    if (info.name == "cuda") throw Error(Code::BackendUnusable, info.reason);
  throw Error(Code::BackendUnusable, "no libxqs_cuda.so beside this program or in XQSCOPE_BACKEND_PATH");
}

/// The table for people; the same rows as JSON.
std::pair<std::string, nlohmann::json> report(const std::vector<Line> &lines, const std::string &device) {
  const double copy = lines[0].bytes / lines[0].seconds, matmul = lines[1].flops / lines[1].seconds;
  std::string table = fmt::format("{}\n{}\n\n{:<44} {:>10} {:>9} {:>7} {:>9} {:>8}\n", machineName(), device, "operation",
                                  "ms", "GB/s", "/ copy", "TFLOP/s", "/ matmul");
  nlohmann::json rows = nlohmann::json::array();
  const auto cell = [](double value, int width, int digits) {
    return value > 0 ? fmt::format(" {:>{}.{}f}", value, width, digits) : fmt::format(" {:>{}}", "-", width);
  };
  for (const Line &l : lines) {
    nlohmann::json row = {{"operation", l.name}, {"has_kernel", l.hasKernel()}};
    table += fmt::format("{:<44}", l.name);
    if (!l.hasKernel()) {
      table += "  no kernel\n";
      rows.push_back(row);
      continue;
    }
    const double bytes = l.bytes / l.seconds, flops = l.flops / l.seconds;
    row["seconds"] = l.seconds;
    if (bytes > 0) row["bytes_per_second"] = bytes, row["of_copy"] = bytes / copy;
    if (flops > 0) row["flops_per_second"] = flops, row["of_matmul"] = flops / matmul;
    table += cell(l.seconds * 1e3, 10, 4) + cell(bytes / 1e9, 9, 1) + cell(bytes / copy, 7, 3) + cell(flops / 1e12, 9, 2) +
             cell(flops / matmul, 8, 3) + "\n";
    rows.push_back(row);
  }
  return {table, {{"machine", machineName()}, {"device", device}, {"rows", rows}}};
}

int bench(const Options &options) {
  const BackendPtr backend = cudaBackend();
  const std::vector<Line> lines = Bench(*backend, options.quick).run();
  const auto [table, json] = report(lines, backend->device() + (options.quick ? "; quick: no figure means anything" : ""));
  if (!options.json.empty()) {
    std::ofstream file(options.json);
    if (!(file << json.dump(2) << '\n')) throw Error(Code::StoreUnwritable, "cannot write " + options.json);
  }
  return std::fwrite(table.data(), 1, table.size(), stdout) == table.size() ? 0 : 1;
}

} // namespace

int main(int argc, char **argv) {
  try {
    return bench(parseOptions(argc, argv));
  } catch (const std::exception &error) {
    std::fprintf(stderr, "cuda_bench: %s\n", error.what());
    return 1;
  }
}
