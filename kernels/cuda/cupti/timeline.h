// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "call_observer.h"

#include <memory>

namespace xqs::cuda::cupti {

class Library;

/// A timeline that CUPTI's Activity API records from its creation on; observes the backend meanwhile
/// (CudaBackend::observe). Where it dies before it is finished, it ends.
class Recording : public CallObserver {
public:
  /// Ends it; nobody observes any more, and the device has nothing left to do. Throws Failure, also where CUPTI reports no
  /// error but has no launch of any operation.
  virtual Instruments::Timeline finish() = 0;
};

/// Throws Failure where CUPTI does not let activities be recorded. The device is idle. `cupti` outlives it.
std::unique_ptr<Recording> record(const Library &cupti);

} // namespace xqs::cuda::cupti
