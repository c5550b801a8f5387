// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model/weights.h"

#include <vector>

namespace xqs::test {

inline std::vector<float> readWeight(const ModelReader &reader, Weight weight, Index layer) {
  std::vector<float> out(static_cast<std::size_t>(weightShape(reader.config(), weight).elements()));
  reader.read(weight, layer, out);
  return out;
}

} // namespace xqs::test
