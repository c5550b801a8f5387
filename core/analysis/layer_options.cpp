// SPDX-License-Identifier: Apache-2.0
#include "layer_options.h"

#include "cache/layer_plan.h"

#include <cmath>

namespace xqs {
namespace {

constexpr const char *kFp16 = "fp16";

/// A policy's layer by itself, as a plan would write it.
PolicySpec ownPolicy(const PolicySpec &policy, Index layer) {
  if (!policy.has("first_layers")) return policy;
  PolicySpec own = policy;
  if (!isChain(policy)) {
    if (layer < policy.integer("first_layers")) own = own.with("bits", std::to_string(policy.integer("first_bits")));
    for (const ParameterInfo &p : policy.method().parameters)
      if (p.name == "first_bits" && p.defaultValue) own = own.with("first_bits", *p.defaultValue);
  }
  return own.with("first_layers", "0");
}

/// K's and V's policies in a layer.
LayerPolicies ownPolicies(const PolicySpec &policy, Index layer) {
  if (policy.entries().empty()) {
    const PolicySpec own = ownPolicy(policy, layer);
    return {own, own};
  }
  LayerPolicies own{PolicySpec::parse(kFp16), PolicySpec::parse(kFp16)};
  for (const bool others : {true, false}) // a layer's own entry counts
    for (const PlanEntry &e : policy.entries()) {
      if (e.others() != others || (!others && (layer < e.first || layer > e.last))) continue;
      if (e.side != Side::V) own.k = e.policy;
      if (e.side != Side::K) own.v = e.policy;
    }
  return own;
}

/// What an option is found by: of a chain only the width that this layer has counts.
std::string nameOf(const PolicySpec &policy, const char *autoSource, bool continues) {
  const PolicySpec resolved = policy.withAutoSource(autoSource);
  if (!isChain(policy)) return planText(resolved);
  const char *own = continues ? "bits" : "first_bits", *other = continues ? "first_bits" : "bits";
  return (continues ? "delta " : "base ") + planText(resolved.with(other, std::to_string(policy.integer(own))));
}

} // namespace

LayerOptions::LayerOptions(const SensitivityMatrix &matrix)
    : m_shape(matrix.shape), m_window(matrix.run.window), m_autoSource(matrix.shape.mha() ? "x" : "latent") {
  for (std::size_t i = 0; i < matrix.windows.size(); ++i) m_fp16.push_back(matrix.fp16.empty() ? 0 : matrix.fp16[i].meanKl);
  const PolicySpec fp16 = PolicySpec::parse(kFp16);
  std::vector<Part> whole, k = {{fp16, {}}}, v = {{fp16, {}}};
  for (const SensitivitySetting &setting : matrix.settings) {
    if (!setting.complete())
      m_leftOut.push_back(setting.name);
    else
      (!setting.side ? whole : *setting.side == Side::K ? k : v).push_back({setting.spec, setting.cells});
  }
  for (const Part &kPart : k)
    for (const Part &vPart : v) add(kPart, &vPart);
  for (const Part &part : whole) add(part, nullptr);
}

void LayerOptions::add(const Part &k, const Part *v) {
  const LayerPolicies policies{k.policy, v != nullptr ? v->policy : k.policy};
  const bool continues = !k.cells.empty() && k.cells.front().windows.empty(); // layer 0 has no delta
  const Names names{nameOf(policies.k, m_autoSource, continues), nameOf(policies.v, m_autoSource, continues)};
  if (!m_byNames.emplace(names, m_options.size()).second) return;
  const int chain = isChain(policies.k) ? chainOf(policies.k) : 0;
  std::vector<Option> options;
  for (std::size_t layer = 0; layer < layers(); ++layer) {
    Option option{policies, 0, std::vector<double>(m_fp16.size()), 0, layer > 0 || !continues, chain, continues};
    for (const Part *part : {&k, v}) {
      if (part == nullptr || !option.possible) continue;
      if (part->cells.empty()) {
        option.bits += m_shape.dkv() * m_window * 16;
        continue;
      }
      const SensitivityCell &cell = part->cells[layer];
      option.bits += cell.bits;
      for (std::size_t i = 0; i < m_fp16.size(); ++i) option.extra[i] += cell.windows[i].meanKl - m_fp16[i];
    }
    option.meanExtra = meanOf(option.extra).mean;
    options.push_back(std::move(option));
  }
  m_options.push_back(std::move(options));
}

/// The number of a policy's chain; what tells chains apart is what `sameChain` compares.
int LayerOptions::chainOf(const PolicySpec &policy) {
  const auto link = [&](const PolicySpec &p) { return *layerPlan(makePlan({{0, 0, {}, p}}), m_shape, 0).chain; };
  for (std::size_t i = 0; i < m_chains.size(); ++i)
    if (sameChain(link(m_chains[i]), link(policy))) return static_cast<int>(i) + 1;
  m_chains.push_back(policy);
  return static_cast<int>(m_chains.size());
}

std::optional<std::size_t> LayerOptions::indexOf(const PolicySpec &policy, Index layer) const {
  const LayerPolicies own = ownPolicies(policy, layer);
  bool continues = false;
  if (isChain(own.k)) { // below its base it is no chain
    const LayerPlan plan = layerPlan(policy, m_shape, layer);
    if (!plan.chain) return {};
    continues = !plan.chain->base;
  }
  const auto found = m_byNames.find({nameOf(own.k, m_autoSource, continues), nameOf(own.v, m_autoSource, continues)});
  return found == m_byNames.end() ? std::nullopt : std::optional(found->second);
}

std::int64_t LayerOptions::bits(double bytesPerToken) const {
  return std::llround(bytesPerToken * 8 * static_cast<double>(m_window));
}

double LayerOptions::fp16Kl() const { return meanOf(m_fp16).mean; }

} // namespace xqs
