// SPDX-License-Identifier: Apache-2.0
#include "run/experiment.h"

#include "model/json_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <functional>

namespace xqs {

namespace {

using nlohmann::json;

constexpr std::int64_t kMaxWindow = 1 << 20;
constexpr std::int64_t kMaxWindows = 1'000'000;
constexpr std::int64_t kMaxThreads = 1024;
constexpr std::int64_t kMaxLanes = 64;

[[noreturn]] void wrong(std::string_view key, const std::string &need, const json &value) {
  std::string shown = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (shown.size() > 60) shown = shown.substr(0, 57) + "...";
  throw Error(Code::Usage, fmt::format("experiment: '{}' must be {}, not {}", key, need, shown));
}

std::int64_t integer(std::string_view key, const json &value, std::int64_t min, std::int64_t max) {
  const std::string need = fmt::format("a whole number from {} to {}", min, max);
  if (!value.is_number_integer()) wrong(key, need, value);
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(max)) wrong(key, need, value);
  const auto n = value.get<std::int64_t>();
  if (n < min || n > max) wrong(key, need, value);
  return n;
}

std::string text(std::string_view key, const json &value) {
  if (!value.is_string() || value.get_ref<const std::string &>().empty()) wrong(key, "a text that is not empty", value);
  return value.get<std::string>();
}

std::vector<PolicySpec> policies(const json &value) {
  if (!value.is_array() || value.empty())
    wrong("policies", "a list of at least one policy, as [\"fp16\", \"kivi-star:bits=4\"]", value);
  std::vector<PolicySpec> specs;
  for (const json &one : value) specs.push_back(PolicySpec::parse(text("policies", one)));
  return specs;
}

bool flag(std::string_view key, const json &value) {
  if (!value.is_boolean()) wrong(key, "true or false", value);
  return value.get<bool>();
}

json calibrationJson(const CalibrationSource &c) {
  return {{"text", c.text}, {"window", c.window}, {"first_window", c.firstWindow}, {"windows", c.windows}};
}

CalibrationSource calibration(const json &value) {
  constexpr const char *kNeed = "an object with text, window, first_window and windows, as "
                                "{\"text\": \"builtin:calibration\", \"window\": 512}";
  if (!value.is_object()) wrong("calibration", kNeed, value);
  CalibrationSource source;
  for (const auto &[name, part] : value.items()) {
    const std::string key = "calibration." + name;
    if (name == "text")
      source.text = text(key, part);
    else if (name == "window")
      source.window = integer(key, part, 2, kMaxWindow);
    else if (name == "first_window")
      source.firstWindow = integer(key, part, 0, kMaxWindows);
    else if (name == "windows")
      source.windows = integer(key, part, 0, kMaxWindows);
    else
      wrong("calibration", kNeed, value);
  }
  return source;
}

/// One line a key: how it is read and written.
struct Key {
  const char *name;
  std::function<void(Experiment &, const json &)> read;
  std::function<json(const Experiment &)> write;
};

const std::vector<Key> &keys() {
  static const std::vector<Key> kKeys = {
      {"model", [](Experiment &e, const json &v) { e.model = text("model", v); },
       [](const Experiment &e) { return json(e.model); }},
      {"text", [](Experiment &e, const json &v) { e.text = text("text", v); },
       [](const Experiment &e) { return json(e.text); }},
      {"window", [](Experiment &e, const json &v) { e.window = integer("window", v, 2, kMaxWindow); },
       [](const Experiment &e) { return json(e.window); }},
      {"first_window", [](Experiment &e, const json &v) { e.firstWindow = integer("first_window", v, 0, kMaxWindows); },
       [](const Experiment &e) { return json(e.firstWindow); }},
      {"windows", [](Experiment &e, const json &v) { e.windows = integer("windows", v, 0, kMaxWindows); },
       [](const Experiment &e) { return json(e.windows); }},
      {"state", [](Experiment &e, const json &v) { e.state = parseState(text("state", v)); },
       [](const Experiment &e) { return json(stateName(e.state)); }},
      {"policies", [](Experiment &e, const json &v) { e.policies = policies(v); },
       [](const Experiment &e) {
         json list = json::array();
         for (const PolicySpec &policy : e.policies) list.push_back(policy.canonical());
         return list;
       }},
      {"protocol", [](Experiment &e, const json &v) { e.protocol = parseProtocol(text("protocol", v)); },
       [](const Experiment &e) { return json(protocolName(e.protocol)); }},
      {"calibration", [](Experiment &e, const json &v) { e.calibration = calibration(v); },
       [](const Experiment &e) { return calibrationJson(e.calibration); }},
      {"captures", [](Experiment &e, const json &v) { e.captures = flag("captures", v); },
       [](const Experiment &e) { return json(e.captures); }},
      {"positions", [](Experiment &e, const json &v) { e.positions = flag("positions", v); },
       [](const Experiment &e) { return json(e.positions); }},
      {"noise_floor", [](Experiment &e, const json &v) { e.noiseFloor = flag("noise_floor", v); },
       [](const Experiment &e) { return json(e.noiseFloor); }},
      {"backend", [](Experiment &e, const json &v) { e.backend = text("backend", v); },
       [](const Experiment &e) { return json(e.backend); }},
      {"threads", [](Experiment &e, const json &v) { e.threads = static_cast<int>(integer("threads", v, 0, kMaxThreads)); },
       [](const Experiment &e) { return json(e.threads); }},
      {"lanes", [](Experiment &e, const json &v) { e.lanes = static_cast<int>(integer("lanes", v, 1, kMaxLanes)); },
       [](const Experiment &e) { return json(e.lanes); }},
      {"seed", [](Experiment &e, const json &v) { e.seed = integer("seed", v, 0, INT64_MAX); },
       [](const Experiment &e) { return json(e.seed); }},
  };
  return kKeys;
}

} // namespace

Experiment experimentFromJson(const json &object) {
  if (!object.is_object())
    throw Error(Code::Usage, "experiment: the JSON must be one object, as {\"policies\": [\"fp16\"]}");
  Experiment experiment;
  for (const auto &[name, value] : object.items()) {
    const auto &all = keys();
    const auto key = std::find_if(all.begin(), all.end(), [&n = name](const Key &k) { return n == k.name; });
    if (key == all.end())
      throw Error(Code::Usage, fmt::format("experiment: unknown key '{}'; valid keys are {}", name, experimentKeys()));
    key->read(experiment, value);
  }
  if (experiment.policies.empty())
    throw Error(Code::Usage, "experiment: 'policies' is missing; give a list, as [\"fp16\", \"kivi-star:bits=4\"]");
  return experiment;
}

Experiment parseExperiment(const std::string &source, const std::string &name) {
  return experimentFromJson(parseJson(source, name, "correct it or start from the example in xqscope-cli run --help"));
}

std::string experimentKeys() {
  std::vector<std::string_view> names;
  for (const Key &key : keys()) names.emplace_back(key.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

json toJson(const Experiment &experiment) {
  json object = json::object();
  for (const Key &key : keys()) object[key.name] = key.write(experiment);
  return object;
}

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
