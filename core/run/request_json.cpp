// SPDX-License-Identifier: Apache-2.0
#include "run/request_json.h"

#include "error.h"

namespace xqs {

void RequestJson::wrong(std::string_view key, const std::string &need, const json &value) const {
  std::string shown = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (shown.size() > 60) shown = shown.substr(0, 57) + "...";
  throw Error(Code::Usage, fmt::format("{}: '{}' must be {}, not {}", m_what, key, need, shown));
}

std::int64_t RequestJson::integer(std::string_view key, const json &value, std::int64_t min, std::int64_t max) const {
  const bool whole = value.is_number_integer() &&
                     !(value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX));
  if (!whole || value.get<std::int64_t>() < min || value.get<std::int64_t>() > max)
    wrong(key, fmt::format("a whole number from {} to {}", min, max), value);
  return value.get<std::int64_t>();
}

std::int64_t RequestJson::samplingInterval(std::string_view key, const json &value) const {
  constexpr std::int64_t kShortest = 25, kLongest = 1'000'000;
  const std::int64_t microseconds = integer(key, value, 0, kLongest);
  if (microseconds > 0 && microseconds < kShortest)
    wrong(key, fmt::format("0 (no samples), or from {} to {}", kShortest, kLongest), value);
  return microseconds;
}

double RequestJson::number(std::string_view key, const json &value) const {
  if (!value.is_number()) wrong(key, "a number", value);
  return value.get<double>();
}

bool RequestJson::flag(std::string_view key, const json &value) const {
  if (!value.is_boolean()) wrong(key, "true or false", value);
  return value.get<bool>();
}

std::string RequestJson::text(std::string_view key, const json &value) const {
  if (!value.is_string()) wrong(key, "a text", value);
  return value.get<std::string>();
}

std::string RequestJson::name(std::string_view key, const json &value) const {
  if (!value.is_string() || value.get_ref<const std::string &>().empty()) wrong(key, "a text that is not empty", value);
  return value.get<std::string>();
}

std::vector<std::int64_t> RequestJson::integers(std::string_view key, const json &value, std::int64_t min,
                                                std::int64_t max) const {
  if (!value.is_array()) wrong(key, fmt::format("a list of whole numbers from {} to {}", min, max), value);
  std::vector<std::int64_t> all;
  for (const json &one : value) all.push_back(integer(key, one, min, max));
  return all;
}

std::vector<PolicySpec> RequestJson::policies(std::string_view key, const json &value, bool mayBeEmpty) const {
  if (!value.is_array() || (value.empty() && !mayBeEmpty))
    wrong(key,
          fmt::format("a list of {}, as [\"fp16\", \"kivi-star:bits=4\"]", mayBeEmpty ? "policies" : "at least one policy"),
          value);
  std::vector<PolicySpec> specs;
  for (const json &one : value) specs.push_back(PolicySpec::parse(name(key, one)));
  return specs;
}

nlohmann::json policiesJson(const std::vector<PolicySpec> &policies) {
  nlohmann::json list = nlohmann::json::array();
  for (const PolicySpec &policy : policies) list.push_back(policy.canonical());
  return list;
}

} // namespace xqs
