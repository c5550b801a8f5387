// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "instruments.h"

namespace xqs::cuda {

/// Is told of the backend's operations while they are called, on the backend's thread. A gathered step is gather,
/// operations, gathered, launch, launched; or it ends in drop.
class CallObserver {
public:
  virtual ~CallObserver() = default;
  /// What is launched up to the matching `end` is this operation's, which has no times yet; operations nest.
  virtual void begin(const KernelRecord &operation) = 0;
  virtual void end() noexcept = 0;

  /// False: nothing is gathered while it observes.
  virtual bool gathers() const { return true; }
  virtual void gather() {} ///< launches become nodes of a graph
  /// No more nodes. False: the executable graph of earlier steps must not be updated to this one, but made anew.
  virtual bool gathered() { return true; }
  virtual void launch() {} ///< the graph is launched between this and `launched`
  virtual void launched() noexcept {}
  virtual void drop() noexcept {} ///< nothing since `gather` will run
};

} // namespace xqs::cuda
