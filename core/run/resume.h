// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "run/experiment.h"
#include "store/run_store.h"

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace xqs {

/// What a store has of one run of a study, so that it is not computed again.
struct StoredRun {
  using Point = std::pair<std::int64_t, Index>; ///< index of a policy (-1: the exact model), window

  RowId id = 0;                                 ///< 0: there is no such run
  bool finished = false;                        ///< its last end says so
  std::map<std::string, std::int64_t> policies; ///< canonical string, index
  std::map<Point, WindowRow> scored;
  std::set<Point> noise, opened;  ///< has a noise floor; has its captures of the open loop
  std::set<Index> captured;       ///< windows whose exact tensors were captured
  std::set<std::string> problems; ///< texts

  /// Takes over points that are in another store; `id` and `finished` stay.
  void alsoHas(const StoredRun &other);
};

/// The newest run of that study with that key.
StoredRun storedRun(RunReader &reader, const std::string &study, const std::string &studyKey);

/// The index of each policy in its run: the stored one, else its place in the list where that is free, else the next free
/// one: the same whichever part of the list is asked for.
std::vector<std::int64_t> policyIndices(const std::vector<PolicySpec> &policies, const StoredRun &stored);

/// The part of an experiment that a process does, and what of it is there already.
struct RunPart {
  struct Misfit {
    std::size_t policy;
    std::string message;
  };
  std::vector<std::size_t> policies; ///< places in the experiment's list, ascending; without misfits
  std::vector<std::int64_t> indices; ///< of all of the experiment's policies
  std::vector<Misfit> misfits;       ///< of the part's policies: those whose settings do not fit the model
  StoredRun stored;
};
/// `refuseMisfit` throws Usage where a policy does not fit.
RunPart partOf(const Experiment &experiment, const std::function<void(const PolicySpec &)> &refuseMisfit,
               const std::vector<std::size_t> &policies, StoredRun stored);
/// 0, 1, ... of all policies.
std::vector<std::size_t> allPolicies(const Experiment &experiment);

/// What is missing of one window: places of policies in the experiment's list.
struct WindowWork {
  Index window = 0;
  std::vector<std::size_t> score, noise, open;
  bool captureExact = false;
  bool any() const { return captureExact || !score.empty() || !noise.empty() || !open.empty(); }
  bool needsTrace() const { return captureExact || !open.empty(); }
  /// Windows under a policy, or under the exact model, that have to be computed.
  Index units() const { return (any() ? 1 : 0) + static_cast<Index>(score.size() + noise.size()); }
};
/// Windows [first, first + windows) that lack something, in order.
std::vector<WindowWork> missingWork(const Experiment &experiment, Index windows, const RunPart &part, bool captures);

} // namespace xqs
