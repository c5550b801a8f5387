// SPDX-License-Identifier: Apache-2.0
#include "run/profile_request.h"

#include "run/request_json.h"

#include <algorithm>
#include <limits>

namespace xqs {

namespace {

using nlohmann::json;
using Key = RequestKey<ProfileRequest>;

constexpr RequestJson kJson{"profile"};
constexpr Index kMaxContext = 1 << 24, kMaxBatch = 4096, kMaxSteps = 100'000, kMaxLayers = 1024;
constexpr std::int64_t kMaxThreads = 1024;
constexpr std::int64_t kMaxSeed = std::numeric_limits<std::uint32_t>::max(); ///< of a shape's location

Key flagKey(const char *name, bool ProfileRequest::*member) {
  return {name, [member](ProfileRequest &r, std::string_view key, const json &v) { r.*member = kJson.flag(key, v); },
          [member](const ProfileRequest &r) { return json(r.*member); }};
}

Key listKey(const char *name, std::vector<Index> ProfileRequest::*member, Index most) {
  return {name, [=](ProfileRequest &r, std::string_view key, const json &v) { r.*member = kJson.integers(key, v, 1, most); },
          [member](const ProfileRequest &r) { return json(r.*member); }};
}

template <class Integer> Key integerKey(const char *name, Integer ProfileRequest::*member, std::int64_t most) {
  return {name,
          [=](ProfileRequest &r, std::string_view key, const json &v) {
            r.*member = static_cast<Integer>(kJson.integer(key, v, 0, most));
          },
          [member](const ProfileRequest &r) { return json(r.*member); }};
}

const std::vector<Key> &keys() {
  using Request = ProfileRequest;
  static const std::vector<Key> kKeys = {
      {"model", [](Request &r, std::string_view key, const json &v) { r.model = kJson.name(key, v); },
       [](const Request &r) { return json(r.model); }},
      {"shape", [](Request &r, std::string_view key, const json &v) { r.shape = kJson.text(key, v); },
       [](const Request &r) { return json(r.shape); }},
      integerKey("layers", &Request::layers, kMaxLayers),
      listKey("contexts", &Request::contexts, kMaxContext),
      listKey("batches", &Request::batches, kMaxBatch),
      {"policies", [](Request &r, std::string_view key, const json &v) { r.policies = kJson.policies(key, v, true); },
       [](const Request &r) { return policiesJson(r.policies); }},
      {"form", [](Request &r, std::string_view key, const json &v) { r.form = parseDecodeForm(kJson.name(key, v)); },
       [](const Request &r) { return json(decodeFormName(r.form)); }},
      {"placement",
       [](Request &r, std::string_view key, const json &v) { r.placement = parsePlacement(kJson.name(key, v)); },
       [](const Request &r) { return json(placementName(r.placement)); }},
      integerKey("steps", &Request::steps, kMaxSteps),
      {"backend", [](Request &r, std::string_view key, const json &v) { r.backend = kJson.name(key, v); },
       [](const Request &r) { return json(r.backend); }},
      integerKey("threads", &Request::threads, kMaxThreads),
      integerKey("seed", &Request::seed, kMaxSeed),
      flagKey("kernels", &Request::kernels),
      flagKey("counters", &Request::counters),
      flagKey("hit_rate", &Request::hitRate),
      flagKey("microscope", &Request::microscope),
      flagKey("costs", &Request::costs),
      {"sampling_us",
       [](Request &r, std::string_view key, const json &v) { r.samplingMicroseconds = kJson.samplingInterval(key, v); },
       [](const Request &r) { return json(r.samplingMicroseconds); }},
  };
  return kKeys;
}

/// Those that the model was trained for; of a model with a short context, that.
std::vector<Index> defaultContexts(const ModelConfig &config, bool onHost) {
  std::vector<Index> contexts;
  for (const Index context : onHost ? std::vector<Index>{512, 1024, 2048} : std::vector<Index>{2048, 8192, 32768})
    if (context <= config.contextLength) contexts.push_back(context);
  if (contexts.empty()) contexts.push_back(config.contextLength);
  return contexts;
}

bool hasWidth(const MethodInfo &method) {
  return std::any_of(method.parameters.begin(), method.parameters.end(),
                     [](const ParameterInfo &p) { return p.name == "bits"; });
}

std::vector<PolicySpec> defaultPolicies(const ModelShape &shape) {
  std::vector<PolicySpec> policies;
  for (const char *bits : {"4", "2"})
    for (const MethodInfo &method : methodRegistry())
      if (hasWidth(method)) policies.push_back(PolicySpec::parse(method.name + ":bits=" + bits));
  constexpr Index kSoonDecomposed = 1024; // full rank of Wk and Wv: at 4096 a decomposition alone takes minutes
  const Index full = std::min(shape.d, shape.dkv()), rank = full * 5 / 6;
  if (rank > 0 && full <= kSoonDecomposed) policies.push_back(PolicySpec::parse(fmt::format("low-rank:rank={}", rank)));
  return policies;
}

void requireLaunches(const ProfileRequest &request) {
  if (!request.microscope || (request.kernels && request.counters)) return;
  throw Error(Code::Usage, "profile: the microscope ('microscope') gives what counters say to the rows of single launches: "
                           "leave 'kernels' and 'counters' on, or the microscope off");
}

void sortOnce(std::vector<Index> &values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

} // namespace

ProfileRequest profileFromJson(const json &object) {
  ProfileRequest request;
  readKeys(kJson, keys(), object, R"({"contexts": [2048], "policies": ["xquant:bits=2"]})", request);
  requireLaunches(request);
  return request;
}

json toJson(const ProfileRequest &request) { return writeKeys(keys(), request); }

std::string profileKeys() { return keyNames(keys()); }

std::vector<PolicySpec> withBaseline(const std::vector<PolicySpec> &policies) {
  std::vector<PolicySpec> all = {PolicySpec::parse("fp16")};
  for (const PolicySpec &policy : policies) {
    const auto same = [&](const PolicySpec &known) { return known.canonical() == policy.canonical(); };
    if (std::none_of(all.begin(), all.end(), same)) all.push_back(policy);
  }
  return all;
}

ProfileRequest completeProfile(ProfileRequest request, const ModelConfig &config, bool onHost) {
  constexpr Index kSteps = 32, kHostSteps = 6;
  if (request.layers > 0 && request.shape.empty())
    throw Error(Code::Usage, "profile: 'layers' counts those of a built-in shape; leave it out, or give a shape");
  requireLaunches(request);
  if (request.contexts.empty()) request.contexts = defaultContexts(config, onHost);
  if (request.batches.empty()) request.batches = {1};
  if (request.steps == 0) request.steps = onHost ? kHostSteps : kSteps;
  if (request.policies.empty()) request.policies = defaultPolicies(config.shape);
  sortOnce(request.contexts), sortOnce(request.batches);
  request.policies = withBaseline(request.policies);
  return request;
}

ProfileRequest quickProfile() {
  ProfileRequest request;
  request.contexts = {512}, request.steps = 4, request.costs = false;
  for (const char *policy : {"fp16", "kivi-star:bits=2", "xquant:bits=2", "xquant-cl:bits=2"})
    request.policies.push_back(PolicySpec::parse(policy));
  return request;
}

} // namespace xqs
