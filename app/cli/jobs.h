// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli.h"

/// A study in several processes on this machine: shards of it into `<store>.part-<i>`, which are merged.
namespace xqs::cli {

struct Jobs {
  std::string spec;
  std::vector<std::string> settings;
  StudyPart part; ///< what the jobs divide among themselves
  int jobs = 1;
  int threads = 0; ///< of each; 0: the cores shared among them
};

/// Starts the processes, shows their progress together, waits and merges; what they finished is kept whatever happens.
/// Throws the first error that one of them reported, and Cancelled after a stop.
void runJobs(const Jobs &jobs);

/// Merges and removes what killed jobs left beside a store. Throws StoreUnwritable where jobs still write there.
void mergeLeftParts(const std::filesystem::path &store);

} // namespace xqs::cli
