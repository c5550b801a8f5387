// SPDX-License-Identifier: Apache-2.0
#include "run/experiment.h"

#include "model/json_text.h"
#include "run/request_json.h"

namespace xqs {

namespace {

using nlohmann::json;

constexpr std::int64_t kMaxWindow = 1 << 20;
constexpr std::int64_t kMaxWindows = 1'000'000;
constexpr std::int64_t kMaxThreads = 1024;
constexpr std::int64_t kMaxLanes = 64;

constexpr RequestJson kJson{"experiment"};
using Key = RequestKey<Experiment>;

json calibrationJson(const CalibrationSource &c) {
  return {{"text", c.text}, {"window", c.window}, {"first_window", c.firstWindow}, {"windows", c.windows}};
}

CalibrationSource calibration(const json &value) {
  constexpr const char *kNeed = "an object with text, window, first_window and windows, as "
                                "{\"text\": \"builtin:calibration\", \"window\": 512}";
  if (!value.is_object()) kJson.wrong("calibration", kNeed, value);
  CalibrationSource source;
  for (const auto &[name, part] : value.items()) {
    const std::string key = "calibration." + name;
    if (name == "text")
      source.text = kJson.name(key, part);
    else if (name == "window")
      source.window = kJson.integer(key, part, 2, kMaxWindow);
    else if (name == "first_window")
      source.firstWindow = kJson.integer(key, part, 0, kMaxWindows);
    else if (name == "windows")
      source.windows = kJson.integer(key, part, 0, kMaxWindows);
    else
      kJson.wrong("calibration", kNeed, value);
  }
  return source;
}

const std::vector<Key> &keys() {
  static const std::vector<Key> kKeys = {
      {"model", [](Experiment &e, std::string_view key, const json &v) { e.model = kJson.name(key, v); },
       [](const Experiment &e) { return json(e.model); }},
      {"text", [](Experiment &e, std::string_view key, const json &v) { e.text = kJson.name(key, v); },
       [](const Experiment &e) { return json(e.text); }},
      {"window", [](Experiment &e, std::string_view key, const json &v) { e.window = kJson.integer(key, v, 2, kMaxWindow); },
       [](const Experiment &e) { return json(e.window); }},
      {"first_window",
       [](Experiment &e, std::string_view key, const json &v) { e.firstWindow = kJson.integer(key, v, 0, kMaxWindows); },
       [](const Experiment &e) { return json(e.firstWindow); }},
      {"windows",
       [](Experiment &e, std::string_view key, const json &v) { e.windows = kJson.integer(key, v, 0, kMaxWindows); },
       [](const Experiment &e) { return json(e.windows); }},
      {"state", [](Experiment &e, std::string_view key, const json &v) { e.state = parseState(kJson.name(key, v)); },
       [](const Experiment &e) { return json(stateName(e.state)); }},
      {"policies", [](Experiment &e, std::string_view key, const json &v) { e.policies = kJson.policies(key, v, false); },
       [](const Experiment &e) { return policiesJson(e.policies); }},
      {"protocol",
       [](Experiment &e, std::string_view key, const json &v) { e.protocol = parseProtocol(kJson.name(key, v)); },
       [](const Experiment &e) { return json(protocolName(e.protocol)); }},
      {"calibration", [](Experiment &e, std::string_view, const json &v) { e.calibration = calibration(v); },
       [](const Experiment &e) { return calibrationJson(e.calibration); }},
      {"captures", [](Experiment &e, std::string_view key, const json &v) { e.captures = kJson.flag(key, v); },
       [](const Experiment &e) { return json(e.captures); }},
      {"positions", [](Experiment &e, std::string_view key, const json &v) { e.positions = kJson.flag(key, v); },
       [](const Experiment &e) { return json(e.positions); }},
      {"noise_floor", [](Experiment &e, std::string_view key, const json &v) { e.noiseFloor = kJson.flag(key, v); },
       [](const Experiment &e) { return json(e.noiseFloor); }},
      {"backend", [](Experiment &e, std::string_view key, const json &v) { e.backend = kJson.name(key, v); },
       [](const Experiment &e) { return json(e.backend); }},
      {"threads",
       [](Experiment &e, std::string_view key, const json &v) {
         e.threads = static_cast<int>(kJson.integer(key, v, 0, kMaxThreads));
       },
       [](const Experiment &e) { return json(e.threads); }},
      {"lanes",
       [](Experiment &e, std::string_view key, const json &v) {
         e.lanes = static_cast<int>(kJson.integer(key, v, 1, kMaxLanes));
       },
       [](const Experiment &e) { return json(e.lanes); }},
      {"seed", [](Experiment &e, std::string_view key, const json &v) { e.seed = kJson.integer(key, v, 0, INT64_MAX); },
       [](const Experiment &e) { return json(e.seed); }},
  };
  return kKeys;
}

} // namespace

Experiment experimentFromJson(const json &object) {
  Experiment experiment;
  readKeys(kJson, keys(), object, R"({"policies": ["fp16"]})", experiment);
  if (experiment.policies.empty())
    throw Error(Code::Usage, "experiment: 'policies' is missing; give a list, as [\"fp16\", \"kivi-star:bits=4\"]");
  return experiment;
}

Experiment parseExperiment(const std::string &source, const std::string &name) {
  return experimentFromJson(parseJson(source, name, "correct it or start from the example in xqscope-cli run --help"));
}

std::string experimentKeys() { return keyNames(keys()); }

json toJson(const Experiment &experiment) { return writeKeys(keys(), experiment); }

Experiment defaultExperiment() {
  constexpr const char *kPolicies[] = {
      "fp16",
      "kivi-star:bits=4",
      "xquant:bits=4",
      "xquant-cl:bits=4",
      "xquant-cl:bits=4,source=x,domain=residual",
      "kivi-star:bits=3",
      "xquant:bits=3",
      "xquant-cl:bits=3",
      "xquant-cl:bits=3,source=x,domain=residual",
      "kivi-star:bits=2",
      "xquant:bits=2",
      "xquant-cl:bits=2",
      "xquant-cl:bits=2,source=x,domain=residual",
      "kivi:bits=4,residual=0",
      "xquant:bits=8,source=x",
      "xquant:bits=4,source=x",
      "low-rank:rank=160",
  };
  Experiment experiment;
  for (const char *policy : kPolicies) experiment.policies.push_back(PolicySpec::parse(policy));
  return experiment;
}

} // namespace xqs
