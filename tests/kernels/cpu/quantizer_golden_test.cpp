// SPDX-License-Identifier: Apache-2.0
// Codes, scales and zeros against figures made independently (their file names the generator and the rule), bit for bit.
#include "quant_groups.h"
#include "support.h"

#include <fstream>
#include <nlohmann/json.hpp>

namespace xqs::test {
namespace {

template <typename B> struct QuantizerGolden : ::testing::Test {};
TYPED_TEST_SUITE(QuantizerGolden, BothBackends);

TYPED_TEST(QuantizerGolden, BitForBit) {
  const std::string path = std::string(XQS_SHARED_DIR) + "/golden/quantizer.json";
  std::ifstream file(path);
  if (!file) GTEST_SKIP() << "no golden figures: " << path << " is missing (set XQS_SHARED)";
  const nlohmann::json golden = nlohmann::json::parse(file);
  const BackendPtr b = make(TypeParam::module());
  int cases = 0;
  for (const auto &c : golden.at("cases")) {
    const auto input =
        golden.at("inputs").at(c.at("case").template get<std::string>()).template get<std::vector<std::uint32_t>>();
    const auto width = static_cast<Index>(input.size());
    const QuantFormat format{c.at("bits").template get<int>(), c.at("group").template get<Index>(), Axis::Token, 0};
    const Buffer x = b->allocate(width * 4, Purpose::Scratch);
    std::memcpy(x.data(), input.data(), input.size() * 4);
    const Index groups = format.groupsPerRow(width);
    const Buffer codes = b->allocate(format.codeBytesPerRow(width), Purpose::CacheCodes);
    const Buffer scales = b->allocate(groups * 4, Purpose::CacheScales);
    PackedView p{format, codes.data(), reinterpret_cast<Half *>(scales.data()), nullptr, 1, width};
    p.zeros = p.scales + groups;
    b->quantize(Queue::Compute, x.f32(1, width), p, 0);
    SCOPED_TRACE(c.at("case").template get<std::string>() + ", " + std::to_string(format.bits) + " bits");
    EXPECT_EQ(c.at("scale_fp16_bits").template get<std::vector<Half>>(), std::vector<Half>(p.scales, p.scales + groups));
    EXPECT_EQ(c.at("zero_fp16_bits").template get<std::vector<Half>>(), std::vector<Half>(p.zeros, p.zeros + groups));
    std::vector<unsigned> got;
    for (Index i = 0; i < width; ++i) got.push_back(readCode(p.codes, i, format.bits));
    EXPECT_EQ(c.at("codes").template get<std::vector<unsigned>>(), got);
    ++cases;
  }
  EXPECT_GT(cases, 0);
}

} // namespace
} // namespace xqs::test
