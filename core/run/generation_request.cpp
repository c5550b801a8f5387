// SPDX-License-Identifier: Apache-2.0
#include "run/generation.h"

#include "model/chat_template.h"
#include "run/decode_steps.h"
#include "run/request_json.h"

namespace xqs {

namespace {

using nlohmann::json;

constexpr Index kMaxTokens = 1 << 20;

constexpr RequestJson kJson{"generation"};
using Key = RequestKey<GenerationRequest>;

const std::vector<Key> &keys() {
  using Request = GenerationRequest;
  static const std::vector<Key> kKeys = {
      {"model", [](Request &r, std::string_view key, const json &v) { r.model = kJson.text(key, v); },
       [](const Request &r) { return json(r.model); }},
      {"prompt", [](Request &r, std::string_view key, const json &v) { r.prompt = kJson.text(key, v); },
       [](const Request &r) { return json(r.prompt); }},
      {"system", [](Request &r, std::string_view key, const json &v) { r.system = kJson.text(key, v); },
       [](const Request &r) { return json(r.system); }},
      {"raw", [](Request &r, std::string_view key, const json &v) { r.raw = kJson.flag(key, v); },
       [](const Request &r) { return json(r.raw); }},
      {"policies", [](Request &r, std::string_view key, const json &v) { r.policies = kJson.policies(key, v, true); },
       [](const Request &r) { return policiesJson(r.policies); }},
      {"tokens", [](Request &r, std::string_view key, const json &v) { r.tokens = kJson.integer(key, v, 1, kMaxTokens); },
       [](const Request &r) { return json(r.tokens); }},
      {"temperature", [](Request &r, std::string_view key, const json &v) { r.sampling.temperature = kJson.number(key, v); },
       [](const Request &r) { return json(r.sampling.temperature); }},
      {"top_k",
       [](Request &r, std::string_view key, const json &v) { r.sampling.topK = kJson.integer(key, v, 0, INT64_MAX); },
       [](const Request &r) { return json(r.sampling.topK); }},
      {"top_p", [](Request &r, std::string_view key, const json &v) { r.sampling.topP = kJson.number(key, v); },
       [](const Request &r) { return json(r.sampling.topP); }},
      {"seed",
       [](Request &r, std::string_view key, const json &v) {
         r.sampling.seed = static_cast<std::uint64_t>(kJson.integer(key, v, 0, INT64_MAX));
       },
       [](const Request &r) { return json(r.sampling.seed); }},
      {"placement",
       [](Request &r, std::string_view key, const json &v) { r.placement = parsePlacement(kJson.name(key, v)); },
       [](const Request &r) { return json(placementName(r.placement)); }},
      {"noise_floor", [](Request &r, std::string_view key, const json &v) { r.noiseFloor = kJson.flag(key, v); },
       [](const Request &r) { return json(r.noiseFloor); }},
      {"sampling_us",
       [](Request &r, std::string_view key, const json &v) { r.samplingMicroseconds = kJson.samplingInterval(key, v); },
       [](const Request &r) { return json(r.samplingMicroseconds); }},
  };
  return kKeys;
}

} // namespace

GenerationRequest generationFromJson(const json &object) {
  GenerationRequest request;
  readKeys(kJson, keys(), object, R"({"prompt": "Hello", "policies": ["fp16"]})", request);
  request.sampling.validate();
  return request;
}

json toJson(const GenerationRequest &request) { return writeKeys(keys(), request); }

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
