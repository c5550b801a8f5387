// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include <fmt/format.h>
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

std::string policyHelp() {
  std::string help = "Policies: name[:parameter=value,...], parameters in any order\n";
  for (const MethodInfo &method : methodRegistry()) {
    help += fmt::format("  {:<12} {}\n", method.name, method.meaning);
    for (const ParameterInfo &p : method.parameters)
      help += fmt::format("    {}: {} ({}). {}\n", p.name, p.range(),
                          p.defaultValue ? "default " + *p.defaultValue : "required", p.meaning);
  }
  return help;
}

} // namespace

void addPolicies(const Command &app) {
  const auto asJson = std::make_shared<bool>(false);
  const Command command = app.add("policies", "List cache methods with their parameters, ranges, defaults and meanings");
  command.flag("--json", *asJson, "as JSON");
  command.does([asJson] {
    if (!*asJson) return print(policyHelp());
    json methods = json::array();
    for (const MethodInfo &method : methodRegistry()) methods.push_back(describe(method));
    printJson(methods);
  });
}

} // namespace xqs::cli
