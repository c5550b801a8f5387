// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "reference_backend.h"

namespace xqs {

/// The fast CPU backend. Operations without a fast form yet are the reference's.
class CpuBackend : public ReferenceBackend {
public:
  explicit CpuBackend(int threads);

  const char *name() const override { return "cpu"; }
  std::string device() const override;

  void matmul(Queue, ConstView x, ConstView w, View out, bool accumulate) override;
};

} // namespace xqs
