// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "run/profile_request.h"
#include "run/runner.h"
#include "run/session.h"
#include "store/run_store.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace xqs {

/// What is profiled: a model on its backend, and how its methods are prepared.
struct ProfileTarget {
  const Model &model;
  Calibration &calibration;
  int threads = 0; ///< that the backend was asked to use
};

/// What a profile found, as rows: those of the store but samples, and single launches where no microscope was asked for.
struct ProfileResult {
  RunRow run;
  std::vector<PolicyRow> policies;
  std::vector<InstrumentRow> instruments;
  std::vector<PeakRow> peaks;
  std::vector<StepRow> steps; ///< a point each, in the order they were measured
  std::vector<TrafficRow> traffic;
  std::vector<KernelRow> kernels; ///< ProfileRequest::microscope
  std::vector<ProblemRow> problems;
  std::vector<LogRow> log; ///< how far times have moved
};

struct ProfileHooks : RunHooks {
  /// The first rows are known, or those of one more point: its StepRow, or its problem, is the last.
  std::function<void(const ProfileResult &)> grown;
};

/// Decodes at every context, batch and policy, and appends what it found as a run of kind "profile": the rows of a point
/// together, before the next one begins. At each point caches are filled as `bench decode` fills them; then whole steps are
/// timed with all instruments off, one step is traced, one counted by operation and one by layer (with the microscope,
/// each kernel by itself before), some sampled, and the cost of each instrument is steps with it and without in turns. An
/// instrument that the device has not says so in its row, and its figures are NaN. A point that does not fit into memory,
/// and a policy that does not fit the model, is a row in `problem`; the others go on.
///
/// A stop keeps finished points; a profile is not continued, but begun anew. Throws Usage before anything is written;
/// afterwards a RunEndRow says how it ended and the error is thrown on, as Runner::run does.
ProfileResult runProfile(const ProfileTarget &target, const ProfileRequest &request, RunStore &store,
                         const ProfileHooks &hooks);

/// The request's shape, loaded on a backend to be profiled. Throws what LoadedShape throws.
std::unique_ptr<LoadedShape> loadShape(Backend &backend, const ProfileRequest &request, const ProfileHooks &hooks);

/// The same for the session's model, or for a shape that is loaded beside it on the session's backend: the command of the
/// window. The session's model, backend and threads are those that count.
ProfileResult profileSession(Session &session, const ProfileRequest &request, RunStore &store, const ProfileHooks &hooks);

} // namespace xqs
