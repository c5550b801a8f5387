// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "run/experiment.h"

#include <nlohmann/json.hpp>

#include <functional>
#include <span>
#include <string>
#include <vector>

namespace xqs {

/// Many settings on many models and texts, as one file:
///
///   {"name": "bits", "about": "Which width is enough?",
///    "base": {"model": "default", "windows": 4},                  keys of an experiment, without policies
///    "grid": {"policy": ["kivi-star", "xquant:source=x"],         every combination; a setting that a policy names
///             "bits": [4, 3, 2], "group": [64, 128],              itself stays, one that its method lacks is left out
///             "window": [512, 1024], "text": [...], "model": [...], "state": [...], "protocol": [...]},
///    "policies": ["fp16"],                                        come first, as they are
///    "isolated": {"policies": ["kivi-star:bits=2"],               one layer at a time, all others FP16, as plans
///                 "layers": "all", "sides": ["k", "v"]}}          or "0-5"; or a list of such objects
///
/// An experiment is a study of one run. In "isolated", "span": 2 takes the layer before too: the base that a delta needs.
class Study {
public:
  /// A study or an experiment as JSON text. `file` is its name in messages; without its ending it names the study, where the
  /// study does not. Throws Usage with one sentence that names the key and says what is valid.
  static Study parse(const std::string &source, const std::string &file);
  /// "default" and the files of resources/studies. Throws Usage, listing them.
  static Study builtIn(const std::string &name);
  static std::vector<std::string> builtInNames();

  const std::string &name() const { return m_name; }
  const std::string &about() const { return m_about; }                                 ///< a sentence or two; may be empty
  std::string backend() const { return m_base.value("backend", std::string("auto")); } ///< of all its runs
  /// Written as an experiment: a policy that does not fit the model is an error, not a row in `problem`.
  bool isExperiment() const { return m_isExperiment; }
  /// Gives a key of `base` another value, also where the grid has it: "windows", "2". Throws Usage.
  void set(const std::string &key, const std::string &value);

  /// One experiment for each model, text, window, state and protocol, the last changing fastest. Policies are those of
  /// `policies`, of the grid (in order of its policies, then of the methods' parameters, the last changing fastest), of
  /// `isolated`; each once. `shapeOf` is asked for a model's shape where layers are isolated. Throws Usage and what it
  /// throws.
  using ShapeOf = std::function<ModelShape(const std::string &model)>;
  std::vector<Experiment> expand(const ShapeOf &shapeOf) const;

private:
  struct Axis {
    std::string key;
    std::vector<nlohmann::json> values;
  };
  struct Isolated {
    std::vector<std::string> policies;
    Index first = 0, last = -1; ///< layers; last < 0: all
    std::vector<std::string> sides = {""};
    Index span = 1;
  };
  void readGrid(const nlohmann::json &grid);
  static Isolated readIsolated(const nlohmann::json &value);
  void check() const;
  void addIsolated(const Isolated &isolated, const ModelShape &shape, std::vector<std::string> &policies) const;
  std::vector<std::string> gridPolicies() const;

  std::string m_name, m_about;
  bool m_isExperiment = false;
  nlohmann::json m_base = nlohmann::json::object();
  std::vector<std::string> m_policies;  ///< as written
  std::vector<std::string> m_templates; ///< the grid's policies
  std::vector<Axis> m_parameters;       ///< the grid's parameters of policies
  std::vector<Axis> m_axes;             ///< the grid's keys of experiments, slowest first
  std::vector<Isolated> m_isolated;
};

} // namespace xqs
