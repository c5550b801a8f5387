// SPDX-License-Identifier: Apache-2.0
// The packed cache where rows lie in whole quads and groups are of every size that has a path of its own.
#include "cuda_test.h"

using namespace xqs;
using namespace xqs::test;

using CudaQuantize = CudaTest;

TEST_F(CudaQuantize, AlignedRowsAndWideGroupsGiveTheBitsOfTheReference) {
  unsigned seed = 40;
  for (const int bits : {2, 3, 4, 8})
    for (const PackedCase &c : {PackedCase{{bits, 8, Axis::Token, 0}, 5, 64},
                                {{bits, 32, Axis::Token, 0}, 5, 96},
                                {{bits, 64, Axis::Token, 128}, 3, 200},
                                {{bits, 24, Axis::Token, 40}, 3, 132},
                                {{bits, 128, Axis::Token, 0}, 3, 1024},
                                {{bits, 512, Axis::Token, 0}, 2, 1100},
                                {{bits, 1024, Axis::Token, 0}, 2, 1028},
                                {{bits, 2048, Axis::Token, 0}, 2, 2052},
                                {{bits, 128, Axis::Token, 20}, 2, 64},
                                {{bits, 8, Axis::Channel, 0}, 24, 264}}) {
      HostMatrix<float> x(c.tokens, c.width, c.width + (8 - c.width % 4) % 4);
      x.values = awkwardValues(c.tokens, x.stride, ++seed);
      HostPacked expected(c);
      const Buffer input = toDevice(x.values);
      const DevicePacked packed(expected);
      s_cuda->quantize(kQ, x.viewOf(input), packed.view, 0);
      s_reference->quantize(kQ, x.view(), expected.view(), 0);
      expectSameBits(toHost<Half>(packed.scales), expected.scales, &c);
      expectSameBits(toHost<Half>(packed.zeros), expected.zeros, &c);
      expectSameBits(toHost<std::byte>(packed.codes), expected.codes, &c);
      EXPECT_EQ(s_cuda->takeSaturated(), s_reference->takeSaturated()) << c;

      const TokenRange range{1, c.tokens};
      auto out = randomMatrix(range.size(), c.width, x.stride, seed);
      const Buffer output = toDevice(out.values);
      for (const bool accumulate : {false, true}) {
        s_cuda->dequantize(kQ, packed.view, range, out.viewOf(output), accumulate);
        s_reference->dequantize(kQ, expected.view(), range, out.view(), accumulate);
        expectSameBits(toHost<float>(output), out.values, &c);
      }
      if (HasFailure()) return; // the first broken case is enough to read
    }
}
