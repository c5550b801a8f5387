// SPDX-License-Identifier: Apache-2.0
#include "cache/policy.h"

#include "cache/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

namespace xqs {
namespace {

std::string methodNames() {
  std::vector<std::string> names;
  for (const MethodInfo &m : methodRegistry()) names.push_back(m.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string parameterNames(const MethodInfo &method) {
  if (method.parameters.empty()) return "none";
  std::vector<std::string> names;
  for (const ParameterInfo &p : method.parameters) names.push_back(fmt::format("{} ({})", p.name, p.range()));
  return fmt::format("{}", fmt::join(names, ", "));
}

[[noreturn]] void fail(std::string_view text, const std::string &why) {
  throw Error(Code::Usage, fmt::format("policy '{}': {}", text, why));
}

/// The value in its normal form ("04" is 4), checked against type and range.
std::string checkedValue(std::string_view text, const ParameterInfo &p, std::string_view value) {
  if (value.empty()) fail(text, fmt::format("parameter {} has no value; valid: {}", p.name, p.range()));
  if (p.type == ParameterInfo::Type::Choice) {
    if (std::find(p.choices.begin(), p.choices.end(), value) != p.choices.end()) return std::string(value);
    fail(text, fmt::format("parameter {} cannot be '{}'; valid: {}", p.name, value, p.range()));
  }
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  const bool known = p.allowed.empty() || std::find(p.allowed.begin(), p.allowed.end(), number) != p.allowed.end();
  if (error != std::errc{} || end != value.data() + value.size() || number < p.min || number > p.max || !known)
    fail(text, fmt::format("parameter {} cannot be '{}'; valid: {}", p.name, value, p.range()));
  return fmt::format("{}", number);
}

} // namespace

std::string ParameterInfo::range() const {
  const auto listed = [](std::vector<std::string> words) {
    if (words.size() < 2) return fmt::format("{}", fmt::join(words, ""));
    const std::string last = words.back();
    words.pop_back();
    return fmt::format("{} or {}", fmt::join(words, ", "), last);
  };
  if (type == Type::Choice) return listed(choices);
  if (allowed.empty()) return fmt::format("{} to {}", min, max);
  std::vector<std::string> words;
  for (const std::int64_t a : allowed) words.push_back(fmt::format("{}", a));
  return listed(words);
}

PolicySpec PolicySpec::parse(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  PolicySpec spec;
  for (const MethodInfo &m : methodRegistry())
    if (m.name == name) spec.m_method = &m;
  if (spec.m_method == nullptr) fail(text, fmt::format("unknown method '{}'; known: {}", name, methodNames()));
  if (name == kPlanMethod) return parsePlan(text);
  const auto &parameters = spec.m_method->parameters;

  std::string_view rest = colon == std::string_view::npos ? std::string_view{} : text.substr(colon + 1);
  if (colon != std::string_view::npos && rest.empty())
    fail(text, fmt::format("nothing after ':'; parameters of {}: {}", name, parameterNames(*spec.m_method)));
  for (bool more = !rest.empty(); more;) {
    const std::size_t comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    more = comma != std::string_view::npos;
    rest = more ? rest.substr(comma + 1) : std::string_view{};
    const std::size_t equals = item.find('=');
    const std::string_view key = item.substr(0, equals);
    const auto p = std::find_if(parameters.begin(), parameters.end(), [&](const ParameterInfo &i) { return i.name == key; });
    if (p == parameters.end())
      fail(text, fmt::format("unknown parameter '{}'; parameters of {}: {}", key, name, parameterNames(*spec.m_method)));
    const std::string_view value = equals == std::string_view::npos ? std::string_view{} : item.substr(equals + 1);
    if (!spec.m_values.emplace(p->name, checkedValue(text, *p, value)).second)
      fail(text, fmt::format("parameter {} is given twice; give it once", key));
  }

  std::vector<std::string> shown;
  for (const ParameterInfo &p : parameters) {
    const auto given = spec.m_values.find(p.name);
    if (given == spec.m_values.end()) {
      if (!p.defaultValue) fail(text, fmt::format("parameter {} must be given; valid: {}", p.name, p.range()));
      spec.m_values.emplace(p.name, *p.defaultValue);
    } else if (given->second != p.defaultValue) {
      shown.push_back(fmt::format("{}={}", p.name, given->second));
    }
  }
  spec.m_canonical = shown.empty() ? std::string(name) : fmt::format("{}:{}", name, fmt::join(shown, ","));
  return spec;
}

std::int64_t PolicySpec::integer(std::string_view name) const {
  const auto found = m_values.find(name);
  XQS_ASSERT(found != m_values.end());
  std::int64_t number = 0;
  std::from_chars(found->second.data(), found->second.data() + found->second.size(), number);
  return number;
}

const std::string &PolicySpec::choice(std::string_view name) const {
  const auto found = m_values.find(name);
  XQS_ASSERT(found != m_values.end());
  return found->second;
}

PolicySpec PolicySpec::with(std::string_view parameter, std::string_view value) const {
  std::vector<std::string> items;
  for (const auto &[key, old] : m_values) items.push_back(fmt::format("{}={}", key, key == parameter ? value : old));
  return parse(items.empty() ? m_method->name : fmt::format("{}:{}", m_method->name, fmt::join(items, ",")));
}

PolicySpec PolicySpec::withAutoSource(std::string_view source) const {
  if (!m_entries) return has("source") && choice("source") == "auto" ? with("source", source) : *this;
  std::vector<PlanEntry> entries = *m_entries;
  for (PlanEntry &entry : entries) entry.policy = entry.policy.withAutoSource(source);
  return makePlan(std::move(entries));
}

std::span<const PlanEntry> PolicySpec::entries() const {
  return m_entries ? std::span(*m_entries) : std::span<const PlanEntry>();
}

} // namespace xqs
