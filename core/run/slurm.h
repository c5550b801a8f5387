// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace xqs {

/// What a Slurm cluster needs to know to run a study. Files must lie where every node sees them.
struct SlurmOptions {
  std::string program; ///< xqscope-cli, absolute
  std::string study;   ///< a file, absolute, or the name of a built-in one
  std::string store;   ///< where the merged result goes, absolute
  std::string name = "study";
  std::vector<std::string> settings;   ///< "windows=2", as of run --set
  std::string partition, time, memory; ///< as sbatch takes them; empty: the cluster's own
  bool gpu = false;                    ///< one GPU a task, backend cuda
  int shards = 8, cpus = 4;
};

/// A bash script that is submitted with `bash`: a job array of shards, each with a store of its own, and a job that merges
/// them when all have ended well. Submitted again after a failure it continues. Throws Usage for values that sbatch would
/// not take.
std::string slurmScript(const SlurmOptions &options);

} // namespace xqs
