// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/layout.h"
#include "engine/evaluate.h"
#include "run/session.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace xqs {

/// What a run does: everything but the machine. The same JSON is the window's request, the file of `xqscope-cli run` and the
/// `spec` column of the store.
struct Experiment {
  std::string model = "default";       ///< a location of `openModel`, or "default"
  std::string text = "builtin:primer"; ///< a location of `loadText`
  Index window = 512;                  ///< tokens a window
  Index firstWindow = 0;               ///< windows skipped at the text's start
  Index windows = 0;                   ///< 0: all that fit
  State state = State::All;
  Protocol protocol = Protocol::Paper;
  std::vector<PolicySpec> policies; ///< side by side, in this order
  CalibrationSource calibration;
  bool captures = true;         ///< distributions, similarity and layer errors of the first window
  bool positions = true;        ///< every position's scores, not only their means
  bool noiseFloor = false;      ///< the first window once more with a perturbation
  std::string backend = "auto"; ///< see chooseBackend
  int threads = 0;              ///< 0: one a core
  int lanes = 4;                ///< policies that advance through the model together; more need more memory
  std::int64_t seed = 0;
};

/// Reads an experiment; missing keys take their defaults. Throws Usage: the key, what is wrong and what is valid.
Experiment experimentFromJson(const nlohmann::json &json);
/// From JSON text; `name` is the file's name in messages.
Experiment parseExperiment(const std::string &text, const std::string &name);
nlohmann::json toJson(const Experiment &experiment);
/// The keys of an experiment, in order: "model, text, ...".
std::string experimentKeys();

/// What `packaging/run.sh` shows first: every method family at several widths, on the default model and the built-in text.
Experiment defaultExperiment();

} // namespace xqs
