// SPDX-License-Identifier: Apache-2.0
#include "calibrate/activations.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <numeric>
#include <unistd.h>

namespace xqs {
namespace {

constexpr char kMagic[8] = {'X', 'Q', 'S', 'A', 'C', 'T', '0', '1'};
struct FileHeader {
  char magic[8];
  std::int64_t layers, d, dkv, tokens;
  std::uint64_t checksum; ///< FNV-1a of the numbers that follow
};

std::uint64_t fnv1a(std::uint64_t hash, const std::vector<float> &values) {
  for (const float v : values) hash = (hash ^ std::bit_cast<std::uint32_t>(v)) * 0x100000001b3ull;
  return hash;
}
std::uint64_t checksum(const Activations &a) {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (const ChannelStats &c : a.channels) hash = fnv1a(fnv1a(hash, c.mean), c.meanAbs);
  return hash;
}

} // namespace

Index sourceWidth(Source source, const ModelShape &shape) {
  return source == Source::K || source == Source::KRope || source == Source::V ? shape.dkv() : shape.d;
}

std::vector<Index> largestChannels(const std::vector<float> &score, Index n) {
  std::vector<Index> order(score.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
    return score[static_cast<std::size_t>(a)] > score[static_cast<std::size_t>(b)];
  });
  order.resize(static_cast<std::size_t>(std::min<Index>(n, std::ssize(order))));
  std::sort(order.begin(), order.end());
  return order;
}

bool readActivations(const std::filesystem::path &file, const ModelShape &shape, Activations &out) {
  std::ifstream in(file, std::ios::binary);
  FileHeader h{};
  if (!in.read(reinterpret_cast<char *>(&h), sizeof h) || std::memcmp(h.magic, kMagic, sizeof kMagic) != 0) return false;
  if (h.layers != shape.layers || h.d != shape.d || h.dkv != shape.dkv()) return false;
  Activations a;
  a.tokens = h.tokens;
  for (Index i = 0; i < shape.layers * kSources; ++i) {
    const auto width = static_cast<std::size_t>(sourceWidth(static_cast<Source>(i % kSources), shape));
    ChannelStats c{std::vector<float>(width), std::vector<float>(width)};
    for (auto *values : {&c.mean, &c.meanAbs})
      if (!in.read(reinterpret_cast<char *>(values->data()), static_cast<std::streamsize>(width * sizeof(float))))
        return false;
    a.channels.push_back(std::move(c));
  }
  if (h.checksum != checksum(a)) return false;
  out = std::move(a);
  return true;
}

bool writeActivations(const std::filesystem::path &file, const Activations &a) {
  std::error_code error;
  std::filesystem::create_directories(file.parent_path(), error);
  const std::filesystem::path temporary = file.string() + fmt::format(".{}", getpid());
  {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    FileHeader h{{},
                 std::ssize(a.channels) / kSources,
                 std::ssize(a.of(Source::X, 0).mean),
                 std::ssize(a.of(Source::V, 0).mean),
                 a.tokens,
                 checksum(a)};
    std::memcpy(h.magic, kMagic, sizeof kMagic);
    out.write(reinterpret_cast<const char *>(&h), sizeof h);
    for (const ChannelStats &c : a.channels)
      for (const auto *values : {&c.mean, &c.meanAbs})
        out.write(reinterpret_cast<const char *>(values->data()),
                  static_cast<std::streamsize>(values->size() * sizeof(float)));
    if (!out.flush()) {
      std::filesystem::remove(temporary, error);
      return false;
    }
  }
  std::filesystem::rename(temporary, file, error);
  return !error;
}

} // namespace xqs
