// SPDX-License-Identifier: Apache-2.0
// What the fast backend packs, given the same X, is what the definition packs, but for values next to a rounding tie.
#include "cpu_backend.h"
#include "engine/evaluate.h"
#include "reference_backend.h"
#include "support/packed_codes.h"
#include "support/small_model.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <iostream>
#include <set>

namespace xqs {
namespace {

constexpr double kTie = 1e-5; // of a group's step

/// One call of `quantize`: what came in, and what was packed.
struct Packing {
  QuantFormat format;
  Index firstToken = 0, width = 0;
  std::vector<float> x;
  std::vector<int> codes;
  std::vector<Half> scales, zeros;
};

/// A backend that keeps what it packs.
template <typename Base> class Recording final : public Base {
public:
  using Base::Base;
  std::vector<Packing> packed;
  bool recording = false;

  void quantize(Queue queue, ConstView x, const PackedView &dst, Index firstRow) override {
    Base::quantize(queue, x, dst, firstRow);
    if (!recording) return;
    Packing p{dst.format, firstRow, dst.width, test::values(x), {}, {}, {}};
    for (Index r = firstRow; r < firstRow + x.rows; ++r)
      for (Index c = 0; c < dst.width; ++c) p.codes.push_back(static_cast<int>(test::codeAt(dst, r, c)));
    const Index before = dst.format.scaleCount(firstRow, dst.width);
    const Index count = dst.format.scaleCount(firstRow + x.rows, dst.width) - before;
    p.scales.assign(dst.scales + before, dst.scales + before + count);
    p.zeros.assign(dst.zeros + before, dst.zeros + before + count);
    packed.push_back(std::move(p));
  }
};

/// A model on such a backend, whose caches are given the exact rows of another one's trace.
template <typename Base> struct Packer {
  Recording<Base> backend{2};
  std::unique_ptr<Model> model;
  std::unique_ptr<Calibration> calibration;
  std::unique_ptr<Method> method;

  Packer(const char *location, const std::string &policy) : model(Model::load(*openModel(location), backend)) {
    calibration = std::make_unique<Calibration>(*model, std::filesystem::path());
    // The same measured figures on both sides.
    calibration->setMeasure("random tokens", [location](std::stop_token) {
      test::SmallModel measured(location);
      return measureActivations(*measured.model, test::randomTokens(256, 256, 99), 128);
    });
    method = prepareMethod(PolicySpec::parse(policy), *model, *calibration);
  }
  const std::vector<Packing> &pack(const ExactTrace &trace, State state) {
    backend.packed.clear(), backend.recording = true;
    openLoop(*method, trace, state);
    backend.recording = false;
    return backend.packed;
  }
};

struct Count {
  Index codes = 0, ties = 0, scaleTies = 0, openTies = 0, carried = 0;
};

bool isHalf(float x) { return toFloat(toHalf(x)) == x; }
bool adjacent(Half a, Half b) { return std::abs(static_cast<int>(a) - static_cast<int>(b)) <= 1; }

/// Every code of `fast` is that of `exact`, or its value lies at a tie. Tokens in `carried` came back otherwise from a layer
/// below, which their deltas answer; tokens that differ here are added.
void compare(const Packing &exact, const Packing &fast, bool openChain, std::set<Index> &carried, Count &count) {
  ASSERT_EQ(exact.format, fast.format);
  ASSERT_EQ(exact.codes.size(), fast.codes.size());
  const Index rows = std::ssize(exact.codes) / exact.width;
  const Index unit = exact.format.axis == Axis::Channel ? exact.format.group : 1;
  std::set<Index> differing;
  for (Index r = 0; r < rows; ++r)
    for (Index c = 0; c < exact.width; ++c) {
      const Index token = exact.firstToken + r;
      bool skip = false; // also where a token of the same group is carried
      for (Index t = token / unit * unit; t < token / unit * unit + unit; ++t) skip = skip || carried.contains(t);
      if (skip) {
        ++count.carried;
        continue;
      }
      ++count.codes;
      const auto at = static_cast<std::size_t>(r * exact.width + c);
      const auto group = static_cast<std::size_t>(test::scaleIndex(exact.format, exact.width, r, c));
      const bool sameScale = exact.scales[group] == fast.scales[group] && exact.zeros[group] == fast.zeros[group];
      if (!sameScale) { // a scale or zero next to a tie of FP16: the layer above answers to that too
        ++count.scaleTies;
        differing.insert(token);
        ASSERT_TRUE(adjacent(exact.scales[group], fast.scales[group]) && adjacent(exact.zeros[group], fast.zeros[group]));
      }
      if (exact.codes[at] == fast.codes[at]) continue;
      differing.insert(token);
      ASSERT_EQ(std::abs(exact.codes[at] - fast.codes[at]), 1);
      if (!sameScale) continue;
      const double scale = toFloat(exact.scales[group]), zero = toFloat(exact.zeros[group]);
      const double position = (static_cast<double>(exact.x[at]) - zero) / scale;
      // An open row is kept in FP16: a value next to a tie of that arrives a whole unit off, itself or, in a chain, in the
      // delta on it.
      if (std::abs(exact.x[at] - fast.x[at]) > kTie * scale) {
        ++count.openTies;
        const bool unitOff = isHalf(exact.x[at]) && isHalf(fast.x[at]) && adjacent(toHalf(exact.x[at]), toHalf(fast.x[at]));
        EXPECT_TRUE(openChain || unitOff) << "token " << token << ", channel " << c;
        continue;
      }
      ++count.ties;
      EXPECT_NEAR(position - std::floor(position), 0.5, kTie) << "token " << token << ", channel " << c;
    }
  carried.insert(differing.begin(), differing.end());
}

TEST(FastBackend, GivenTheSameXCodesDifferOnlyAtTies) {
  constexpr Index kTokens = 192;
  Count all;
  for (const bool mha : {false, true}) {
    const char *location = mha ? test::kMhaModel : test::kGqaModel;
    test::SmallModel source(location);
    ExactTrace trace(*source.model, kTokens);
    WindowEvaluator(*source.model, State::All).exact(test::randomTokens(kTokens, 256, 61), &trace);
    for (const std::string &policy : test::contractPolicies(mha))
      for (const State state : {State::All, State::Stream}) {
        SCOPED_TRACE(policy + (mha ? " on MHA, " : " on GQA, ") + stateName(state));
        Packer<ReferenceBackend> exact(location, policy);
        Packer<CpuBackend> fast(location, policy);
        const auto &a = exact.pack(trace, state);
        const auto &b = fast.pack(trace, state);
        ASSERT_EQ(a.size(), b.size());
        std::set<Index> carried;
        const bool chained = policy.find("-cl") != std::string::npos;
        for (std::size_t i = 0; i < a.size(); ++i) {
          if (!chained) carried.clear();
          compare(a[i], b[i], chained && state == State::Stream, carried, all);
        }
      }
  }
  std::cout << all.codes << " codes: " << all.ties << " differ at a tie, " << all.scaleTies
            << " in groups whose scale or zero lay at one of FP16, " << all.openTies << " on an open row that did, "
            << all.carried << " left out, of deltas that answer to such a code\n";
  EXPECT_LT(all.carried, all.codes / 50);
  EXPECT_LT(all.scaleTies, all.codes / 100);
  EXPECT_LT(all.openTies, all.codes / 100'000);
}

} // namespace
} // namespace xqs
