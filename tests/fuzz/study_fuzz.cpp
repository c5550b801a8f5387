// SPDX-License-Identifier: Apache-2.0
// A study is parsed, expanded for a model and held against it, or refused by an Error. Anything else is a bug.
#include "cache/layout.h"
#include "error.h"
#include "run/study.h"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  using namespace xqs;
  constexpr ModelShape kShape{.layers = 3, .d = 32, .heads = 4, .kvHeads = 2, .dh = 8};
  try {
    const Study study = Study::parse({reinterpret_cast<const char *>(data), size}, "fuzz.json");
    for (const Experiment &experiment : study.expand([&](const std::string &) { return kShape; }))
      for (const PolicySpec &policy : experiment.policies) {
        if (PolicySpec::parse(policy.canonical()).canonical() != policy.canonical()) __builtin_trap();
        try {
          cacheLayout(policy, kShape);
        } catch (const Error &) { // does not fit the model
        }
      }
  } catch (const Error &) {
  }
  return 0;
}
