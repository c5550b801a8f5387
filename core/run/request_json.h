// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/policy.h"
#include "tensor.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace xqs {

/// Reads values of a request's JSON. `what` names the request in messages: "profile: 'steps' must be a whole number from 0
/// to 100000, not "x"". Everything throws Usage.
class RequestJson {
public:
  using json = nlohmann::json;
  constexpr explicit RequestJson(const char *what) : m_what(what) {}
  const char *what() const { return m_what; }

  [[noreturn]] void wrong(std::string_view key, const std::string &need, const json &value) const;
  std::int64_t integer(std::string_view key, const json &value, std::int64_t min, std::int64_t max) const;
  /// Microseconds between samples of a device's traffic: 0, which is none, or as many as GPUs can keep up with.
  std::int64_t samplingInterval(std::string_view key, const json &value) const;
  double number(std::string_view key, const json &value) const;
  bool flag(std::string_view key, const json &value) const;
  std::string text(std::string_view key, const json &value) const; ///< may be empty
  std::string name(std::string_view key, const json &value) const; ///< may not
  /// Lists; `need` says what one looks like where it may not be empty.
  std::vector<std::int64_t> integers(std::string_view key, const json &value, std::int64_t min, std::int64_t max) const;
  std::vector<PolicySpec> policies(std::string_view key, const json &value, bool mayBeEmpty) const;

private:
  const char *m_what;
};

/// [canonical strings]
nlohmann::json policiesJson(const std::vector<PolicySpec> &policies);

/// One line a key: how it is read and written.
template <class Request> struct RequestKey {
  const char *name;
  std::function<void(Request &, std::string_view key, const nlohmann::json &)> read;
  std::function<nlohmann::json(const Request &)> write;
};

/// "model, text, ..."
template <class Request> std::string keyNames(const std::vector<RequestKey<Request>> &keys) {
  std::string names;
  for (const auto &key : keys) names += (names.empty() ? "" : ", ") + std::string(key.name);
  return names;
}

/// Sets what `object` says; other values stay. `example`: of an object that is right. Throws Usage for a key that is none.
template <class Request> void readKeys(const RequestJson &reader, const std::vector<RequestKey<Request>> &keys,
                                       const nlohmann::json &object, const char *example, Request &request) {
  if (!object.is_object())
    throw Error(Code::Usage, fmt::format("{}: the JSON must be one object, as {}", reader.what(), example));
  for (const auto &[name, value] : object.items()) {
    const auto key = std::find_if(keys.begin(), keys.end(), [&n = name](const auto &k) { return n == k.name; });
    if (key == keys.end())
      throw Error(Code::Usage, fmt::format("{}: unknown key '{}'; valid keys are {}", reader.what(), name, keyNames(keys)));
    key->read(request, key->name, value);
  }
}

template <class Request> nlohmann::json writeKeys(const std::vector<RequestKey<Request>> &keys, const Request &request) {
  nlohmann::json object = nlohmann::json::object();
  for (const auto &key : keys) object[key.name] = key.write(request);
  return object;
}

} // namespace xqs
