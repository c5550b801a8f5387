// SPDX-License-Identifier: Apache-2.0
#include "cache/plan.h"

#include "cache/methods.h"
#include "model/input_file.h"
#include "model/json_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>

namespace xqs {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxFileBytes = 1 << 20;
constexpr Index kMaxLayer = 4095;

[[noreturn]] void fail(std::string_view where, const std::string &why) {
  throw Error(Code::Usage, fmt::format("plan '{}': {}", where.substr(0, 60), why));
}

Index layerNumber(std::string_view where, std::string_view text) {
  Index number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number < 0 || number > kMaxLayer)
    fail(where, fmt::format("'{}' is no layer; give a number from 0, a range as 3-29, or * for all others", text));
  return number;
}

/// "0-2", "5.k", "*".
PlanEntry layersOf(std::string_view where, std::string_view text) {
  PlanEntry entry;
  for (const auto &[suffix, side] : {std::pair(".k", Side::K), std::pair(".v", Side::V)})
    if (text.ends_with(suffix)) entry.side = side;
  if (entry.side) text.remove_suffix(2);
  if (text == "*") return entry;
  const std::size_t dash = text.find('-');
  entry.first = layerNumber(where, text.substr(0, dash));
  entry.last = dash == std::string_view::npos ? entry.first : layerNumber(where, text.substr(dash + 1));
  if (entry.last < entry.first) fail(where, fmt::format("the range '{}' ends before it begins", text));
  return entry;
}

/// The policy of a layer by itself.
PolicySpec layerPolicy(std::string_view where, std::string_view text) {
  if (text.substr(0, text.find(':')) == kPlanMethod) // told before it is read: a file may name itself
    fail(where, "a plan inside a plan; name the policies of its layers instead");
  const PolicySpec spec = PolicySpec::parse(text);
  if (!spec.has("first_layers")) return spec;
  for (const ParameterInfo &p : spec.method().parameters)
    if (p.name == "first_layers" && spec.integer(p.name) != 0 && std::to_string(spec.integer(p.name)) != p.defaultValue)
      fail(where,
           fmt::format("'{}' sets first_layers, which a plan replaces; give those layers an entry of their own", text));
  return spec.with("first_layers", "0");
}

std::string layersText(const PlanEntry &e) {
  const char *side = !e.side ? "" : *e.side == Side::K ? ".k" : ".v";
  if (e.others()) return fmt::format("*{}", side);
  return e.first == e.last ? fmt::format("{}{}", e.first, side) : fmt::format("{}-{}{}", e.first, e.last, side);
}

std::vector<PlanEntry> inlineEntries(std::string_view text) {
  std::vector<PlanEntry> entries;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = rest.find(';');
    const std::string_view item = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    const std::size_t equals = item.find('=');
    if (equals == std::string_view::npos) fail(text, fmt::format("'{}' is not LAYERS=POLICY, as 0-2=xquant:bits=4", item));
    entries.push_back(layersOf(text, item.substr(0, equals)));
    entries.back().policy = layerPolicy(text, item.substr(equals + 1));
  }
  return entries;
}

std::vector<PlanEntry> jsonEntries(const std::string &file, const std::string &source) {
  const json parsed = parseJson(source, file, "correct it, or write a line a layer: 0-2 xquant:bits=4");
  if (!parsed.is_object() || parsed.size() != 1 || !parsed.contains("layers") || !parsed["layers"].is_object())
    fail(file, R"(it must be {"layers": {"0-2": "xquant:bits=4", "3": {"k": "...", "v": "..."}}})");
  std::vector<PlanEntry> entries;
  for (const auto &[layers, value] : parsed["layers"].items()) {
    const auto add = [&, &name = layers](const std::string &side, const json &policy) {
      if (!policy.is_string()) fail(file, fmt::format("the policy of layers '{}' is not a text", name));
      entries.push_back(layersOf(file, name + side));
      entries.back().policy = layerPolicy(file, policy.get<std::string>());
    };
    if (!value.is_object()) {
      add("", value);
      continue;
    }
    for (const auto &[side, policy] : value.items()) {
      if (side != "k" && side != "v") fail(file, fmt::format("'{}' is no side of layers '{}'; use k and v", side, layers));
      add("." + side, policy);
    }
  }
  return entries;
}

std::vector<PlanEntry> tableEntries(const std::string &file, std::string_view source) {
  std::vector<PlanEntry> entries;
  for (int number = 1; !source.empty(); ++number) {
    const std::size_t end = source.find('\n');
    std::string_view line = source.substr(0, end);
    source = end == std::string_view::npos ? std::string_view{} : source.substr(end + 1);
    line = line.substr(0, line.find('#'));
    constexpr const char *kBlank = " \t\r,";
    const auto word = [&] {
      line.remove_prefix(std::min(line.find_first_not_of(kBlank), line.size()));
      const std::string_view w = line.substr(0, line.find_first_of(kBlank));
      line.remove_prefix(w.size());
      return w;
    };
    const std::string_view layers = word();
    if (layers.empty()) continue;
    line.remove_prefix(std::min(line.find_first_not_of(kBlank), line.size()));
    const std::string_view policy = line.substr(0, line.find_last_not_of(" \t\r") + 1);
    if (policy.empty()) fail(file, fmt::format("line {} has no policy; write '0-2 xquant:bits=4'", number));
    entries.push_back(layersOf(file, layers));
    entries.back().policy = layerPolicy(file, policy);
  }
  return entries;
}

std::vector<PlanEntry> fileEntries(const std::string &file) {
  const std::string source = readRegularFile(file, "plan", kMaxFileBytes);
  const std::size_t first = source.find_first_not_of(" \t\r\n");
  return first != std::string::npos && source[first] == '{' ? jsonEntries(file, source) : tableEntries(file, source);
}

bool overlap(const PlanEntry &a, const PlanEntry &b) {
  if (a.side && b.side && *a.side != *b.side) return false;
  if (a.others() || b.others()) return a.others() && b.others();
  return a.first <= b.last && b.first <= a.last;
}

/// What the plan says of one side of a layer; null: nothing.
const PlanEntry *entryOf(const PolicySpec &plan, Index layer, Side side) {
  const PlanEntry *others = nullptr;
  for (const PlanEntry &e : plan.entries()) {
    if (e.side && *e.side != side) continue;
    if (e.others()) others = &e;
    if (!e.others() && e.first <= layer && layer <= e.last) return &e;
  }
  return others;
}

LayerPlan planOfOne(const PolicySpec &plan, const PolicySpec &spec, const ModelShape &shape, Index layer) {
  if (!isChain(spec)) return layerPlan(spec, shape, layer);
  const PlanEntry *below = layer > 0 ? entryOf(plan, layer - 1, Side::K) : nullptr;
  const bool continues = below != nullptr && isChain(below->policy) &&
                         sameChain(*chainPlan(below->policy, shape, false).chain, *chainPlan(spec, shape, false).chain);
  return chainPlan(spec, shape, !continues);
}

/// K of one plan, V of another.
LayerPlan joined(const LayerPlan &k, const LayerPlan &v) {
  LayerPlan p;
  p.tensors = {k.tensors[static_cast<std::size_t>(k.k.tensor)], v.tensors[static_cast<std::size_t>(v.v.tensor)]};
  p.k = {0, k.k.map}, p.v = {1, v.v.map};
  p.ropeAfter = k.ropeAfter;
  return p;
}

LayerPlan plan(const PolicySpec &spec, const ModelShape &shape, Index layer) {
  for (const PlanEntry &e : spec.entries())
    if (e.last >= shape.layers)
      fail(spec.canonical(), fmt::format("layers {} are beyond the model's last, {}", layersText(e), shape.layers - 1));
  static const PolicySpec kFp16 = PolicySpec::parse("fp16");
  const PlanEntry *k = entryOf(spec, layer, Side::K), *v = entryOf(spec, layer, Side::V);
  const PolicySpec &kPolicy = k != nullptr ? k->policy : kFp16, &vPolicy = v != nullptr ? v->policy : kFp16;
  if (k == v) return planOfOne(spec, kPolicy, shape, layer);
  if (isChain(kPolicy) || isChain(vPolicy))
    fail(spec.canonical(), fmt::format("layer {}: xquant-cl rebuilds K and V from one sum; give it both sides", layer));
  return joined(layerPlan(kPolicy, shape, layer), layerPlan(vPolicy, shape, layer));
}

} // namespace

bool isChain(const PolicySpec &policy) { return policy.method().name == "xquant-cl"; }

PolicySpec makePlan(std::vector<PlanEntry> entries) {
  std::stable_sort(entries.begin(), entries.end(), [](const PlanEntry &a, const PlanEntry &b) {
    if (a.others() != b.others()) return b.others();
    return std::pair(a.first, a.side) < std::pair(b.first, b.side);
  });
  std::vector<std::string> texts;
  for (const PlanEntry &e : entries) texts.push_back(fmt::format("{}={}", layersText(e), planText(e.policy)));
  PolicySpec spec;
  for (const MethodInfo &m : methodRegistry())
    if (m.name == kPlanMethod) spec.m_method = &m;
  spec.m_canonical = fmt::format("{}:{}", kPlanMethod, fmt::join(texts, ";"));
  for (std::size_t i = 0; i < entries.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (overlap(entries[i], entries[j]))
        fail(spec.m_canonical, fmt::format("layers {} and {} overlap; name each side of a layer once",
                                           layersText(entries[j]), layersText(entries[i])));
  spec.m_entries = std::make_shared<const std::vector<PlanEntry>>(std::move(entries));
  return spec;
}

PolicySpec parsePlan(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view body = colon == std::string_view::npos ? std::string_view{} : text.substr(colon + 1);
  if (body.empty()) fail(text, "it names no layers; write plan:0-2=xquant:bits=4;3-29=xquant:bits=2 or plan:@FILE");
  std::vector<PlanEntry> entries = body.front() == '@' ? fileEntries(std::string(body.substr(1))) : inlineEntries(body);
  if (entries.empty()) fail(text, "it names no layers");
  return makePlan(std::move(entries));
}

std::string planText(const PolicySpec &policy) {
  std::string text = policy.canonical();
  for (const char *setting : {"first_layers=0,", ",first_layers=0", ":first_layers=0"})
    if (const std::size_t at = text.find(setting); at != std::string::npos) {
      text.erase(at, std::string_view(setting).size());
      break;
    }
  return text;
}

PolicySpec planOfLayers(std::span<const LayerPolicies> layers) {
  std::vector<PlanEntry> entries;
  const auto add = [&](Index layer, std::optional<Side> side, const PolicySpec &policy) {
    PlanEntry entry{layer, layer, side, layerPolicy("plan", planText(policy))};
    for (PlanEntry &before : entries)
      if (before.last == layer - 1 && before.side == side && before.policy.canonical() == entry.policy.canonical()) {
        before.last = layer;
        return;
      }
    entries.push_back(std::move(entry));
  };
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto layer = static_cast<Index>(i);
    if (planText(layers[i].k) == planText(layers[i].v)) {
      add(layer, {}, layers[i].k);
    } else {
      add(layer, Side::K, layers[i].k);
      add(layer, Side::V, layers[i].v);
    }
  }
  return makePlan(std::move(entries));
}

std::string planFile(const PolicySpec &plan) {
  json layers = json::object();
  for (const PlanEntry &e : plan.entries()) {
    PlanEntry bare = e;
    bare.side.reset();
    json &slot = layers[layersText(bare)];
    if (e.side)
      slot[*e.side == Side::K ? "k" : "v"] = planText(e.policy);
    else
      slot = planText(e.policy);
  }
  return json({{"layers", layers}}).dump(2) + "\n";
}

MethodInfo planMethod() {
  return {
      kPlanMethod,
      "Plan",
      "Layers, or one side of them, follow policies of their own: plan:0-2=xquant:bits=4;3-29=xquant:bits=2, or plan:@FILE.",
      "this project",
      {},
      plan,
      "plan:0-2=xquant:bits=4;*=xquant:bits=2"};
}

} // namespace xqs
