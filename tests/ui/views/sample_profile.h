// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "store/run_store.h"

#include <string>
#include <vector>

/// A made-up profile with figures of the right size: a 7B shape on a data centre's GPU with measured bytes, or a small model
/// on a CPU whose memory controllers may not be read.
namespace xqs::test {

enum class Measured { Parts, Layers, Nothing }; ///< by the GPU's counters; with nothing there are no samples either

struct ProfileOptions {
  bool gpu = true;
  int layers = 32;
  Measured measured = Measured::Parts;
  bool timeline = true;    ///< false: it was lost, and with it what is counted
  const char *spec = "";   ///< RunRow::spec
  bool microscope = false; ///< the GPU's kernels were counted one by one, but for quantize in layer 0
};

struct ProfilePolicy {
  std::string policy;
  double bytes = 0;       ///< of the cache, a token and layer
  double rebuildFlop = 0; ///< a token and layer
};
/// FP16, KIVI, XQuant (rebuilt ahead on a queue of its own) and XQuant-CL.
const std::vector<ProfilePolicy> &profilePolicies();

/// Run, policies, instruments and peaks.
RowId beginProfile(RunStore &store, const ProfileOptions &options);
/// Everything of one policy at one point: steps, launches, traffic and, on the GPU, samples.
void addProfilePoint(RunStore &store, RowId run, const ProfileOptions &options, std::int64_t policy, std::int64_t context,
                     std::int64_t batch);
void endProfile(RunStore &store, RowId run);
/// All of the above: contexts 2048 and 32768, batches 1 and 4 on the GPU; 512 and 1024 on the CPU.
RowId addProfile(RunStore &store, const ProfileOptions &options = {});
/// `count` short launches of policy 0 at 4096 x 1, behind each other.
void addLaunches(RunStore &store, RowId run, int count);

} // namespace xqs::test
