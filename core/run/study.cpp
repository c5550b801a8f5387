// SPDX-License-Identifier: Apache-2.0
#include "run/study_parts.h"

#include "model/json_text.h"
#include "run/resources.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>

namespace xqs {

namespace {

using nlohmann::json;

constexpr Index kMostLayers = 1 << 16;
/// Keys of an experiment that a grid may vary, slowest first: another model is loaded as rarely as possible.
constexpr const char *kRunAxes[] = {"model", "text", "window", "state", "protocol"};
constexpr const char *kDefaultExperiment = "default";
constexpr const char *kStudyKeys[] = {"name", "about", "base", "grid", "policies", "isolated"};

std::string shown(const json &value) {
  const std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 57) + "..." : text;
}

std::vector<std::string> texts(std::string_view key, const json &value) {
  const auto wrong = [&, k = key] {
    studyError(fmt::format("'{}' must be a list of at least one text, as [\"kivi-star:bits=4\"], not {}", k, shown(value)));
  };
  if (!value.is_array() || value.empty()) wrong();
  std::vector<std::string> all;
  for (const json &one : value) {
    if (!one.is_string() || one.get_ref<const std::string &>().empty()) wrong();
    all.push_back(one.get<std::string>());
  }
  return all;
}

std::string parameterNames() {
  std::vector<std::string> all;
  for (const MethodInfo &method : methodRegistry())
    for (const ParameterInfo &p : method.parameters)
      if (std::find(all.begin(), all.end(), p.name) == all.end()) all.push_back(p.name);
  return fmt::format("{}", fmt::join(all, ", "));
}

bool isParameter(std::string_view name) {
  return std::any_of(methodRegistry().begin(), methodRegistry().end(), [&](const MethodInfo &method) {
    return std::any_of(method.parameters.begin(), method.parameters.end(),
                       [&](const ParameterInfo &p) { return p.name == name; });
  });
}

/// "0-5" or "3". Throws.
std::pair<Index, Index> layerRange(const json &value) {
  const auto wrong = [&] {
    studyError(
        fmt::format("'layers' of 'isolated' must be \"all\", a layer as \"3\" or layers as \"0-5\", not {}", shown(value)));
  };
  if (!value.is_string()) wrong();
  const std::string text = value.get<std::string>();
  if (text == "all") return {0, -1};
  const auto number = [&](std::string_view part) {
    Index n = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), n);
    if (error != std::errc{} || end != part.data() + part.size() || n < 0 || n >= kMostLayers) wrong();
    return n;
  };
  const std::size_t dash = text.find('-');
  const Index first = number(std::string_view(text).substr(0, dash));
  const Index last = dash == std::string::npos ? first : number(std::string_view(text).substr(dash + 1));
  if (last < first) wrong();
  return {first, last};
}

/// Place of a key among those of an experiment that a grid may vary.
std::ptrdiff_t axisPlace(const std::string &key) {
  return std::find(std::begin(kRunAxes), std::end(kRunAxes), key) - std::begin(kRunAxes);
}

std::string stem(const std::string &file) { return std::filesystem::path(file).stem().string(); }

} // namespace

void studyError(const std::string &what) { throw Error(Code::Usage, "study: " + what); }

const MethodInfo *studyMethod(std::string_view policy) {
  const std::string_view name = policy.substr(0, policy.find(':'));
  for (const MethodInfo &method : methodRegistry())
    if (method.name == name) return &method;
  return nullptr;
}

bool namesParameter(std::string_view policy, std::string_view parameter) {
  for (std::size_t at = policy.find_first_of(":,"); at != std::string_view::npos; at = policy.find(',', at + 1)) {
    const std::string_view rest = policy.substr(at + 1);
    if (rest.starts_with(parameter) && rest.substr(parameter.size()).starts_with('=')) return true;
  }
  return false;
}

std::vector<std::string> Study::builtInNames() {
  std::vector<std::string> names = {kDefaultExperiment};
  for (const std::string &name : builtInStudies()) names.push_back(name);
  return names;
}

Study Study::builtIn(const std::string &name) {
  const std::vector<std::string> names = builtInNames();
  if (std::find(names.begin(), names.end(), name) == names.end())
    throw Error(Code::Usage, fmt::format("there is no study '{}'; built in are {}", name, fmt::join(names, ", ")));
  return parse(name == kDefaultExperiment ? ::xqs::toJson(defaultExperiment()).dump() : std::string(builtInStudy(name)),
               name);
}

Study Study::parse(const std::string &source, const std::string &file) {
  json object = parseJson(source, file, "correct it or start from an example in xqscope-cli run --help");
  Study study;
  study.m_name = stem(file);
  const auto has = [&](const char *key) { return object.is_object() && object.contains(key); };
  study.m_isExperiment = !has("base") && !has("grid") && !has("isolated");
  if (study.m_isExperiment) {
    for (const PolicySpec &policy : experimentFromJson(object).policies) study.m_policies.push_back(policy.canonical());
    object.erase("policies");
    study.m_base = object;
    return study;
  }
  for (const auto &[key, value] : object.items()) {
    if (key == "name" || key == "about") {
      if (!value.is_string() || value.get_ref<const std::string &>().empty())
        studyError(fmt::format("'{}' must be a text that is not empty, not {}", key, shown(value)));
      (key == "name" ? study.m_name : study.m_about) = value.get<std::string>();
    } else if (key == "base") {
      if (!value.is_object()) studyError("'base' must be an object with keys of an experiment, not " + shown(value));
      if (value.contains("policies"))
        studyError("'base' has no 'policies': they stand beside it, in the study's own 'policies'");
      study.m_base = value;
    } else if (key == "grid") {
      study.readGrid(value);
    } else if (key == "policies") {
      study.m_policies = texts("policies", value);
    } else if (key == "isolated") {
      const json list = value.is_array() ? value : json::array({value});
      for (const json &one : list) study.m_isolated.push_back(readIsolated(one));
    } else {
      studyError(fmt::format("unknown key '{}'; valid keys are {}", key, fmt::join(kStudyKeys, ", ")));
    }
  }
  study.check();
  return study;
}

void Study::readGrid(const json &grid) {
  if (!grid.is_object())
    studyError("'grid' must be an object of lists, as {\"policy\": [\"xquant\"], \"bits\": [4, 2]}, not " + shown(grid));
  for (const auto &[key, value] : grid.items()) {
    if (!value.is_array() || value.empty())
      studyError(fmt::format("'{}' of 'grid' must be a list of at least one value, not {}", key, shown(value)));
    if (key == "policy") {
      m_templates = texts("policy", value);
      continue;
    }
    const bool axis = axisPlace(key) < std::ssize(kRunAxes);
    if (!axis && !isParameter(key))
      studyError(fmt::format("unknown key '{}' of 'grid'; valid are policy, {} and the parameters of policies: {}", key,
                             fmt::join(kRunAxes, ", "), parameterNames()));
    for (const json &one : value)
      if (!one.is_number_integer() && !one.is_string())
        studyError(fmt::format("'{}' of 'grid' must be a list of whole numbers or texts, not {}", key, shown(value)));
    (axis ? m_axes : m_parameters).push_back({key, value.get<std::vector<json>>()});
  }
  std::sort(m_axes.begin(), m_axes.end(), [](const Axis &a, const Axis &b) { return axisPlace(a.key) < axisPlace(b.key); });
}

Study::Isolated Study::readIsolated(const json &value) {
  if (!value.is_object())
    studyError("'isolated' must be an object, as {\"policies\": [\"kivi-star:bits=2\"], \"layers\": \"all\"}, or a list of "
               "such, not " +
               shown(value));
  Isolated isolated;
  for (const auto &[key, part] : value.items()) {
    if (key == "policies") {
      isolated.policies = texts("policies", part);
    } else if (key == "layers") {
      std::tie(isolated.first, isolated.last) = layerRange(part);
    } else if (key == "sides") {
      isolated.sides.clear();
      for (const std::string &side : texts("sides", part)) {
        if (side != "k" && side != "v" && side != "both")
          studyError("'sides' of 'isolated' are \"k\", \"v\" and \"both\", not " + shown(part));
        isolated.sides.push_back(side == "both" ? "" : "." + side);
      }
    } else if (key == "span") {
      if (!part.is_number_integer() || part < 1 || part > kMostLayers)
        studyError("'span' of 'isolated' must be a whole number of layers from 1, not " + shown(part));
      isolated.span = part.get<Index>();
    } else {
      studyError(fmt::format("unknown key '{}' of 'isolated'; valid keys are policies, layers, sides, span", key));
    }
  }
  if (isolated.policies.empty()) studyError("'isolated' lacks 'policies', a list as [\"kivi-star:bits=2\"]");
  return isolated;
}

/// Everything that can be known without a model.
void Study::check() const {
  if (m_templates.empty() && m_policies.empty() && m_isolated.empty())
    studyError("nothing to run: give 'policies', 'isolated' or a 'grid' with 'policy'");
  if (m_templates.empty() && !m_parameters.empty())
    studyError(
        fmt::format("'{}' of 'grid' needs a 'policy' list there, as \"policy\": [\"xquant\"]", m_parameters.front().key));
  for (const Axis &axis : m_parameters) {
    const auto takes = [&](const std::string &policy) {
      const MethodInfo *method = studyMethod(policy);
      return method == nullptr ||
             (!namesParameter(policy, axis.key) && std::any_of(method->parameters.begin(), method->parameters.end(),
                                                               [&](const ParameterInfo &p) { return p.name == axis.key; }));
    };
    if (std::none_of(m_templates.begin(), m_templates.end(), takes))
      studyError(fmt::format("'{}' of 'grid' applies to none of its policies: {}", axis.key, fmt::join(m_templates, "; ")));
  }
  for (const Isolated &isolated : m_isolated)
    for (const std::string &policy : isolated.policies) PolicySpec::parse(policy);
  Study bare = *this;
  bare.m_isolated.clear();
  if (bare.m_policies.empty() && bare.m_templates.empty()) bare.m_policies = {"fp16"};
  bare.expand({});
}

void Study::set(const std::string &key, const std::string &value) {
  if (key == "policies") studyError("'policies' cannot be set from outside; write a study of your own");
  std::erase_if(m_axes, [&](const Axis &axis) { return axis.key == key; });
  const json parsed = json::parse(value, nullptr, false);
  m_base[key] = parsed.is_discarded() || parsed.is_string() ? json(value) : parsed;
  check();
}

} // namespace xqs
