// SPDX-License-Identifier: Apache-2.0
#include "run/generation.h"

#include "model/chat_template.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <functional>

namespace xqs {

namespace {

using nlohmann::json;

constexpr Index kMaxTokens = 1 << 20;

[[noreturn]] void wrong(const char *key, const std::string &need, const json &value) {
  std::string shown = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (shown.size() > 60) shown = shown.substr(0, 57) + "...";
  throw Error(Code::Usage, fmt::format("generation: '{}' must be {}, not {}", key, need, shown));
}

std::string text(const char *key, const json &value) {
  if (!value.is_string()) wrong(key, "a text", value);
  return value.get<std::string>();
}

bool flag(const char *key, const json &value) {
  if (!value.is_boolean()) wrong(key, "true or false", value);
  return value.get<bool>();
}

double number(const char *key, const json &value) {
  if (!value.is_number()) wrong(key, "a number", value);
  return value.get<double>();
}

std::int64_t integer(const char *key, const json &value, std::int64_t min, std::int64_t max) {
  const bool whole = value.is_number_integer() &&
                     !(value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX));
  if (!whole || value.get<std::int64_t>() < min || value.get<std::int64_t>() > max)
    wrong(key, fmt::format("a whole number from {} to {}", min, max), value);
  return value.get<std::int64_t>();
}

std::vector<PolicySpec> policies(const json &value) {
  if (!value.is_array()) wrong("policies", "a list of policies, as [\"xquant:bits=2\"]", value);
  std::vector<PolicySpec> specs;
  for (const json &one : value) specs.push_back(PolicySpec::parse(text("policies", one)));
  return specs;
}

/// One line a key: how it is read and written.
struct Key {
  const char *name;
  std::function<void(GenerationRequest &, const char *key, const json &)> read;
  std::function<json(const GenerationRequest &)> write;
};

const std::vector<Key> &keys() {
  using Request = GenerationRequest;
  static const std::vector<Key> kKeys = {
      {"model", [](Request &r, const char *key, const json &v) { r.model = text(key, v); },
       [](const Request &r) { return json(r.model); }},
      {"prompt", [](Request &r, const char *key, const json &v) { r.prompt = text(key, v); },
       [](const Request &r) { return json(r.prompt); }},
      {"system", [](Request &r, const char *key, const json &v) { r.system = text(key, v); },
       [](const Request &r) { return json(r.system); }},
      {"raw", [](Request &r, const char *key, const json &v) { r.raw = flag(key, v); },
       [](const Request &r) { return json(r.raw); }},
      {"policies", [](Request &r, const char *, const json &v) { r.policies = policies(v); },
       [](const Request &r) {
         json list = json::array();
         for (const PolicySpec &policy : r.policies) list.push_back(policy.canonical());
         return list;
       }},
      {"tokens", [](Request &r, const char *key, const json &v) { r.tokens = integer(key, v, 1, kMaxTokens); },
       [](const Request &r) { return json(r.tokens); }},
      {"temperature", [](Request &r, const char *key, const json &v) { r.sampling.temperature = number(key, v); },
       [](const Request &r) { return json(r.sampling.temperature); }},
      {"top_k", [](Request &r, const char *key, const json &v) { r.sampling.topK = integer(key, v, 0, INT64_MAX); },
       [](const Request &r) { return json(r.sampling.topK); }},
      {"top_p", [](Request &r, const char *key, const json &v) { r.sampling.topP = number(key, v); },
       [](const Request &r) { return json(r.sampling.topP); }},
      {"seed",
       [](Request &r, const char *key, const json &v) {
         r.sampling.seed = static_cast<std::uint64_t>(integer(key, v, 0, INT64_MAX));
       },
       [](const Request &r) { return json(r.sampling.seed); }},
      {"noise_floor", [](Request &r, const char *key, const json &v) { r.noiseFloor = flag(key, v); },
       [](const Request &r) { return json(r.noiseFloor); }},
  };
  return kKeys;
}

} // namespace

GenerationRequest generationFromJson(const json &object) {
  if (!object.is_object())
    throw Error(Code::Usage,
                "generation: the JSON must be one object, as {\"prompt\": \"Hello\", \"policies\": [\"fp16\"]}");
  GenerationRequest request;
  for (const auto &[name, value] : object.items()) {
    const auto &all = keys();
    const auto key = std::find_if(all.begin(), all.end(), [&n = name](const Key &k) { return n == k.name; });
    if (key == all.end()) {
      std::vector<std::string_view> names;
      for (const Key &k : all) names.emplace_back(k.name);
      throw Error(Code::Usage, fmt::format("generation: unknown key '{}'; valid keys are {}", name, fmt::join(names, ", ")));
    }
    key->read(request, key->name, value);
  }
  request.sampling.validate();
  return request;
}

json toJson(const GenerationRequest &request) {
  json object = json::object();
  for (const Key &key : keys()) object[key.name] = key.write(request);
  return object;
}

GenerationRequest defaultGeneration() {
  GenerationRequest request;
  request.prompt = "Explain in a few sentences why a language model keeps a cache of keys and values.";
  for (const char *policy : {"xquant:bits=4", "kivi-star:bits=2", "xquant:bits=2"})
    request.policies.push_back(PolicySpec::parse(policy));
  return request;
}

std::vector<TokenId> promptTokens(const GenerationRequest &request, const Model &model) {
  const ModelConfig &config = model.config();
  if (request.prompt.empty()) throw Error(Code::Usage, "the prompt is empty; say something to the model");
  std::vector<TokenId> tokens;
  if (request.raw) {
    tokens = model.tokenizer().encode(request.prompt);
  } else {
    std::vector<ChatMessage> chat;
    if (!request.system.empty()) chat.push_back({Role::System, request.system});
    chat.push_back({Role::User, request.prompt});
    const ChatFamily &family = recognizeChat(config.chatTemplate);
    tokens = model.tokenizer().encodeWithSpecials(renderChat(family, model.tokenizer(), chat));
  }
  if (std::ssize(tokens) > config.contextLength)
    throw Error(Code::Usage, fmt::format("the prompt has {} tokens, more than the {} that {} was trained for; shorten it",
                                         tokens.size(), config.contextLength, config.name));
  return tokens;
}

} // namespace xqs
