// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend.h"
#include "capture/captures.h"

#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace xqs {

/// Sums a backend's trace by lane and operation while it lives, and gives OperationRows. What all lanes share (tag lane -1:
/// one matmul over the rows of every lane) counts for each lane with its share.
class OperationSums {
public:
  /// `policies`: what each lane runs, -1 for the exact model. Replaces the backend's trace sink until destroyed.
  OperationSums(Backend &backend, std::vector<std::int64_t> policies);
  ~OperationSums();
  OperationSums(const OperationSums &) = delete;
  OperationSums &operator=(const OperationSums &) = delete;

  void pause(); ///< what follows is not the lanes' work (captures)
  void resume();
  void emit(RowId run, Index window, const Emit &emit) const;

private:
  struct Sum {
    std::int64_t calls = 0;
    double nanoseconds = 0, bytes = 0, flops = 0;
  };
  void add(const KernelRecord &record);

  Backend &m_backend;
  std::vector<std::int64_t> m_policies;
  std::map<std::pair<std::int64_t, std::string>, Sum> m_sums;
};

} // namespace xqs
