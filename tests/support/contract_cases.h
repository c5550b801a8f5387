// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "support/small_model.h"

#include <ostream>

/// Every contract policy on both kinds of model, as parameters of a test.
namespace xqs::test {

inline SmallModel &modelOf(bool mha) {
  static SmallModel gqaModel(kGqaModel), mhaModel(kMhaModel);
  return mha ? mhaModel : gqaModel;
}

struct Case {
  std::string policy;
  bool mha;
};
inline void PrintTo(const Case &c, std::ostream *out) { *out << c.policy << (c.mha ? " on MHA" : " on GQA"); }

inline std::vector<Case> cases() {
  std::vector<Case> all;
  for (const bool mha : {false, true})
    for (const std::string &policy : contractPolicies(mha)) all.push_back({policy, mha});
  return all;
}

} // namespace xqs::test
