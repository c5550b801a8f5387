// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "run/backends.h"
#include "run/resume.h"
#include "run/study.h"

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace xqs {

/// Which part of a study a process does, and where what is done already lies.
struct StudyPart {
  std::filesystem::path store;            ///< empty: nothing is stored
  std::filesystem::path known;            ///< another store whose points need not be done again; may be empty
  int shard = 1, shards = 1;              ///< policies shard, shard + shards, ... of the list of all runs' policies
  std::string autoBackend = kHostBackend; ///< what the backend `auto` stands for; figures of two backends are two runs
};

/// One run of a study, before any weights are loaded.
struct PlannedRun {
  Experiment experiment;
  std::string key; ///< its study key
  std::string modelName, modelHash, textName;
  ModelShape shape;
  Index parameters = 0;
  Index windows = 0; ///< that the experiment asks for
  RunPart part;
  std::vector<WindowWork> work; ///< what is missing
  std::optional<Error> error;   ///< why it cannot run at all: a text that is too short, a window that is too long

  Index missing() const;    ///< windows under a policy
  Index units() const;      ///< see WindowWork::units
  double workFlops() const; ///< of the missing units, multiply-add = 2, captures not counted
};

/// Expands a study and looks up what is there. Opens models and texts, loads no weights. Throws what the readers of models,
/// texts and stores throw.
std::vector<PlannedRun> planStudy(const Study &study, const StudyPart &part);

/// Seconds that the missing work will take, and where the figure comes from.
struct TimeEstimate {
  double seconds = 0;
  std::string source; ///< a sentence for people
};
/// From windows of the same model on the same backend that `store` has, where there are any; else from the time of a product
/// of matrices on the backend, which takes a fraction of a second. Throws BackendUnusable.
TimeEstimate estimateTime(const std::vector<PlannedRun> &runs, const std::filesystem::path &store,
                          std::span<const BackendInfo> backends);

/// Runs, policies, bytes and what is missing, for people and for programs.
std::string planTable(const Study &study, const std::vector<PlannedRun> &runs, const TimeEstimate &time);
nlohmann::json planJson(const Study &study, const std::vector<PlannedRun> &runs, const TimeEstimate &time);

/// Elements of all weights of a model.
Index parameterCount(const ModelConfig &config);

} // namespace xqs
