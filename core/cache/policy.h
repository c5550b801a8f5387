// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model/model_reader.h"

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace xqs {

struct LayerPlan;
class PolicySpec;

enum class Side : std::uint8_t { K, V };

/// One parameter of a method: what the command line's help, the window's form and validation are made from.
struct ParameterInfo {
  enum class Type { Integer, Choice };
  std::string name;
  Type type = Type::Integer;
  std::int64_t min = 0, max = 0;           ///< Integer
  std::vector<std::int64_t> allowed;       ///< Integer: only these, where not empty
  std::vector<std::string> choices;        ///< Choice
  std::optional<std::string> defaultValue; ///< none: must be given
  std::string meaning;                     ///< one sentence, with units
  std::string range() const;               ///< "2, 3, 4, 8 or 16", "1 to 4096", "auto, x or latent"
};

/// One cache method. `plan` is called with a valid spec of this method.
struct MethodInfo {
  std::string name;    ///< "xquant-cl"
  std::string title;   ///< "XQuant-CL": legends
  std::string meaning; ///< one sentence
  std::string source;  ///< paper, section
  std::vector<ParameterInfo> parameters;
  /// What a layer stores and how K and V come back; arithmetic only. Throws Usage where the settings do not fit the shape.
  LayerPlan (*plan)(const PolicySpec &, const ModelShape &, Index layer);
};

/// All methods, one line each (registry.cpp).
std::span<const MethodInfo> methodRegistry();

struct PlanEntry;

/// A method with its settings: `name[:parameter=value,...]`, parameters in any order; or a plan that gives layers different
/// ones (plan.h). Immutable.
class PolicySpec {
public:
  /// Throws Usage for unknown names, unknown, duplicate, empty, missing or out-of-range parameters; lists the valid ones.
  static PolicySpec parse(std::string_view text);

  const MethodInfo &method() const { return *m_method; }
  /// The name and every parameter that differs from its default, in registry order.
  const std::string &canonical() const { return m_canonical; }
  bool has(std::string_view name) const { return m_values.find(name) != m_values.end(); }
  std::int64_t integer(std::string_view name) const;
  const std::string &choice(std::string_view name) const;
  /// The same policy with one parameter set otherwise; throws as parse does.
  PolicySpec with(std::string_view parameter, std::string_view value) const;
  /// The same with source=auto replaced, in every layer of a plan.
  PolicySpec withAutoSource(std::string_view source) const;
  /// The entries of a plan; empty for any other method.
  std::span<const PlanEntry> entries() const;
  /// Every parameter's value as text, defaults filled in.
  const std::map<std::string, std::string, std::less<>> &values() const { return m_values; }

private:
  friend PolicySpec makePlan(std::vector<PlanEntry> entries);
  const MethodInfo *m_method = nullptr;
  std::shared_ptr<const std::vector<PlanEntry>> m_entries;
  std::map<std::string, std::string, std::less<>> m_values;
  std::string m_canonical;
};

} // namespace xqs
