// SPDX-License-Identifier: Apache-2.0
// From a study to its experiments: combinations of a grid, layers one at a time.
#include "run/study_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace xqs {

namespace {

using nlohmann::json;

constexpr std::size_t kMostPolicies = 100'000, kMostRuns = 10'000, kMostPoints = 1'000'000;

std::string settingText(const json &value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

} // namespace

std::vector<std::string> Study::gridPolicies() const {
  std::vector<std::string> all;
  for (const std::string &policy : m_templates) {
    std::vector<std::string> these = {policy};
    const MethodInfo *method = studyMethod(policy);
    for (const ParameterInfo &p : method != nullptr ? method->parameters : std::vector<ParameterInfo>()) {
      const auto axis =
          std::find_if(m_parameters.begin(), m_parameters.end(), [&](const Axis &a) { return a.key == p.name; });
      if (axis == m_parameters.end() || namesParameter(policy, p.name)) continue;
      std::vector<std::string> next;
      if (these.size() * axis->values.size() > kMostPolicies)
        studyError(fmt::format("the grid has more than {} policies; take fewer values", kMostPolicies));
      for (const std::string &one : these)
        for (const json &value : axis->values)
          next.push_back(
              fmt::format("{}{}{}={}", one, one.find(':') == std::string::npos ? ':' : ',', p.name, settingText(value)));
      these = std::move(next);
    }
    all.insert(all.end(), these.begin(), these.end());
  }
  return all;
}

void Study::addIsolated(const Isolated &isolated, const ModelShape &shape, std::vector<std::string> &policies) const {
  const Index last = isolated.last < 0 ? shape.layers - 1 : isolated.last;
  if (last >= shape.layers)
    studyError(fmt::format("'layers' of 'isolated' go to {}, the model has layers 0 to {}", last, shape.layers - 1));
  for (const std::string &policy : isolated.policies)
    for (const std::string &side : isolated.sides)
      for (Index layer = std::max(isolated.first, isolated.span - 1); layer <= last; ++layer)
        policies.push_back(isolated.span == 1
                               ? fmt::format("plan:{}{}={}", layer, side, policy)
                               : fmt::format("plan:{}-{}{}={}", layer - isolated.span + 1, layer, side, policy));
}

std::vector<Experiment> Study::expand(const ShapeOf &shapeOf) const {
  std::vector<json> objects = {m_base};
  for (const Axis &axis : m_axes) {
    std::vector<json> next;
    if (objects.size() * axis.values.size() > kMostRuns)
      studyError(fmt::format("more than {} runs; take fewer values", kMostRuns));
    for (const json &object : objects)
      for (const json &value : axis.values) {
        next.push_back(object);
        next.back()[axis.key] = value;
      }
    objects = std::move(next);
  }
  std::vector<std::string> common = m_policies;
  const std::vector<std::string> grid = gridPolicies();
  common.insert(common.end(), grid.begin(), grid.end());
  if (objects.size() * common.size() > kMostPoints)
    studyError(fmt::format("{} runs of {} policies are too many; take fewer values", objects.size(), common.size()));
  std::vector<Experiment> experiments;
  for (json &object : objects) {
    object["policies"] = {"fp16"}; // the reader wants some
    Experiment experiment = experimentFromJson(object);
    experiment.policies.clear();
    std::vector<std::string> policies = common;
    for (const Isolated &isolated : m_isolated) addIsolated(isolated, shapeOf(experiment.model), policies);
    if (policies.size() > kMostPolicies) studyError(fmt::format("more than {} policies; take fewer values", kMostPolicies));
    std::set<std::string> seen;
    for (const std::string &policy : policies) {
      PolicySpec spec = PolicySpec::parse(policy);
      if (seen.insert(spec.canonical()).second) experiment.policies.push_back(std::move(spec));
    }
    experiments.push_back(std::move(experiment));
  }
  return experiments;
}

} // namespace xqs
