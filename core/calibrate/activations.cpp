// SPDX-License-Identifier: Apache-2.0
#include "calibrate/activations.h"

#include "calibrate/float_file.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace xqs {
namespace {

constexpr std::string_view kMagic = "XQSACT01";

template <typename Array, typename Owner> std::vector<Array *> arraysOf(Owner &activations) {
  std::vector<Array *> arrays;
  for (auto &c : activations.channels) arrays.insert(arrays.end(), {&c.mean, &c.meanAbs});
  return arrays;
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
  Activations a;
  for (Index i = 0; i < shape.layers * kSources; ++i) {
    const auto width = static_cast<std::size_t>(sourceWidth(static_cast<Source>(i % kSources), shape));
    a.channels.push_back({std::vector<float>(width), std::vector<float>(width)});
  }
  std::array<std::int64_t, 4> numbers{};
  if (!readFloatFile(file, kMagic, numbers, arraysOf<std::vector<float>>(a))) return false;
  if (numbers[0] != shape.layers || numbers[1] != shape.d || numbers[2] != shape.dkv()) return false;
  a.tokens = numbers[3];
  out = std::move(a);
  return true;
}

bool writeActivations(const std::filesystem::path &file, const Activations &a) {
  const std::array<std::int64_t, 4> numbers{std::ssize(a.channels) / kSources, std::ssize(a.of(Source::X, 0).mean),
                                            std::ssize(a.of(Source::V, 0).mean), a.tokens};
  return writeFloatFile(file, kMagic, numbers, arraysOf<const std::vector<float>>(a));
}

} // namespace xqs
