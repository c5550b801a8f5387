// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include <nlohmann/json.hpp>

namespace xqs::cli {

namespace {

using nlohmann::json;

/// The default in the parameter's own type; null where it must be given.
json defaultOf(const ParameterInfo &parameter) {
  if (!parameter.defaultValue) return nullptr;
  if (parameter.type == ParameterInfo::Type::Integer) return std::stoll(*parameter.defaultValue);
  return *parameter.defaultValue;
}

json describe(const ParameterInfo &parameter) {
  json object = {{"name", parameter.name},
                 {"default", defaultOf(parameter)},
                 {"required", !parameter.defaultValue.has_value()},
                 {"range", parameter.range()},
                 {"meaning", parameter.meaning}};
  if (parameter.type == ParameterInfo::Type::Choice) {
    object["type"] = "choice";
    object["choices"] = parameter.choices;
    return object;
  }
  object["type"] = "integer";
  if (!parameter.allowed.empty()) {
    object["allowed"] = parameter.allowed;
  } else {
    object["min"] = parameter.min;
    object["max"] = parameter.max;
  }
  return object;
}

json describe(const MethodInfo &method) {
  json parameters = json::array();
  for (const ParameterInfo &parameter : method.parameters) parameters.push_back(describe(parameter));
  return {{"name", method.name},
          {"title", method.title},
          {"meaning", method.meaning},
          {"source", method.source},
          {"parameters", parameters}};
}

} // namespace

void addPolicies(CLI::App &app) {
  const auto asJson = std::make_shared<bool>(false);
  CLI::App *command =
      app.add_subcommand("policies", "List cache methods with their parameters, ranges, defaults and meanings");
  command->add_flag("--json", *asJson, "as JSON");
  command->footer(exitCodeHelp());
  command->callback([asJson] {
    if (!*asJson) return print(policyHelp());
    json methods = json::array();
    for (const MethodInfo &method : methodRegistry()) methods.push_back(describe(method));
    printJson(methods);
  });
}

} // namespace xqs::cli
