// SPDX-License-Identifier: Apache-2.0
#include "solver.h"

#include "cache/layout.h"
#include "error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace xqs {
namespace {

constexpr const char *kFp16 = "fp16";

double meanOfValues(const std::vector<double> &values) { return meanOf(values).mean; }

/// A setting's way to store one side of a layer, or both.
struct Part {
  PolicySpec policy;
  std::vector<SensitivityCell> cells; ///< one a layer; empty: FP16
};

/// A policy's layer by itself: as a plan would write it.
std::string layerName(const PolicySpec &policy, Index layer) {
  if (!policy.has("first_layers")) return planText(policy);
  PolicySpec own = policy;
  if (layer < policy.integer("first_layers")) own = own.with("bits", std::to_string(policy.integer("first_bits")));
  for (const ParameterInfo &p : policy.method().parameters)
    if (p.name == "first_bits" && p.defaultValue) own = own.with("first_bits", *p.defaultValue);
  return planText(own.with("first_layers", "0"));
}

/// The names of K's and V's policies in a layer.
std::pair<std::string, std::string> layerNames(const PolicySpec &policy, Index layer) {
  if (policy.entries().empty()) {
    const std::string name = layerName(policy, layer);
    return {name, name};
  }
  std::pair<std::string, std::string> names = {kFp16, kFp16};
  for (const bool others : {true, false}) // a layer's own entry counts
    for (const PlanEntry &e : policy.entries()) {
      if (e.others() != others || (!others && (layer < e.first || layer > e.last))) continue;
      if (e.side != Side::V) names.first = planText(e.policy);
      if (e.side != Side::K) names.second = planText(e.policy);
    }
  return names;
}

} // namespace

double Correction::operator()(double sumNats) const { return sumNats <= 0 ? sumNats : factor * std::pow(sumNats, exponent); }

double Correction::inverse(double nats) const { return nats <= 0 ? nats : std::pow(nats / factor, 1 / exponent); }

BudgetSolver::BudgetSolver(const SensitivityMatrix &matrix)
    : m_shape(matrix.shape), m_window(matrix.run.window), m_autoSource(matrix.shape.mha() ? "x" : "latent") {
  for (std::size_t i = 0; i < matrix.windows.size(); ++i) m_fp16.push_back(matrix.fp16.empty() ? 0 : matrix.fp16[i].meanKl);
  addOptions(matrix);
  if (m_options.size() < 2)
    throw Error(Code::Usage,
                fmt::format("no setting of the matrix is measured in every layer ({} are in some); finish the study: "
                            "xqscope-cli run sensitivity --store with the same store",
                            m_leftOut.size()));
  fitCorrection(matrix);
  const auto layers = static_cast<std::size_t>(m_shape.layers);
  const double perToken = 1 / (8.0 * static_cast<double>(m_window));
  double leastSum = 0;
  for (std::size_t layer = 0; layer < layers; ++layer) {
    std::int64_t leastBits = std::numeric_limits<std::int64_t>::max();
    double least = 0;
    for (const auto &options : m_options) {
      leastBits = std::min(leastBits, options[layer].bits);
      least = std::min(least, options[layer].meanExtra);
    }
    leastSum += least;
    m_leastBytes += static_cast<double>(leastBits) * perToken;
    m_mostBytes += static_cast<double>(m_options.front()[layer].bits) * perToken;
  }
  m_leastKl = meanOfValues(m_fp16) + m_correction(leastSum);
}

void BudgetSolver::addOptions(const SensitivityMatrix &matrix) {
  const PolicySpec fp16 = PolicySpec::parse(kFp16);
  std::vector<Part> whole, k = {{fp16, {}}}, v = {{fp16, {}}};
  for (const SensitivitySetting &setting : matrix.settings) {
    if (setting.spec.method().name == "xquant-cl" || !setting.complete())
      m_leftOut.push_back(setting.name);
    else
      (!setting.side ? whole : *setting.side == Side::K ? k : v).push_back({setting.spec, setting.cells});
  }
  const std::int64_t fp16Bits = m_shape.dkv() * m_window * 16;
  const auto add = [&](const Part &kPart, const Part *vPart) {
    const LayerPolicies policies{kPart.policy, vPart != nullptr ? vPart->policy : kPart.policy};
    const auto name = [&](const PolicySpec &policy) { return planText(policy.withAutoSource(m_autoSource)); };
    if (!m_byNames.emplace(Names{name(policies.k), name(policies.v)}, m_options.size()).second) return;
    std::vector<Option> options;
    for (std::size_t layer = 0; layer < static_cast<std::size_t>(m_shape.layers); ++layer) {
      Option option{policies, 0, std::vector<double>(m_fp16.size()), 0};
      for (const Part *part : {&kPart, vPart}) {
        if (part == nullptr) continue;
        if (part->cells.empty()) {
          option.bits += fp16Bits;
          continue;
        }
        option.bits += part->cells[layer].bits;
        for (std::size_t i = 0; i < m_fp16.size(); ++i) option.extra[i] += part->cells[layer].windows[i].meanKl - m_fp16[i];
      }
      option.meanExtra = meanOfValues(option.extra);
      options.push_back(std::move(option));
    }
    m_options.push_back(std::move(options));
  };
  for (const Part &kPart : k)
    for (const Part &vPart : v) add(kPart, &vPart);
  for (const Part &part : whole) add(part, nullptr);
}

void BudgetSolver::fitCorrection(const SensitivityMatrix &matrix) {
  std::vector<std::pair<double, double>> points; // ln of sum, ln of measured
  for (const PolicyScores &scores : matrix.uniform) {
    const std::optional<Prediction> prediction = predict(PolicySpec::parse(scores.policy.policy));
    if (!prediction) continue;
    const double floor = meanOfValues(m_fp16);
    const double sum = prediction->sumKl - floor, measured = klOf(scores.windows).mean - floor;
    if (sum > floor && measured > floor) points.emplace_back(std::log(sum), std::log(measured)); // FP16 itself says nothing
  }
  m_correction.policies = points.size();
  m_correction.typicalError = std::numeric_limits<double>::quiet_NaN();
  if (points.empty()) return;
  const auto n = static_cast<double>(points.size());
  double x = 0, y = 0, xx = 0, xy = 0;
  for (const auto &[s, m] : points) x += s / n, y += m / n;
  for (const auto &[s, m] : points) xx += (s - x) * (s - x), xy += (s - x) * (m - y);
  if (points.size() > 2 && xx > 0 && xy > 0) m_correction.exponent = xy / xx;
  m_correction.factor = std::exp(y - m_correction.exponent * x);
  const std::size_t parameters = m_correction.exponent == 1 ? 1 : 2;
  if (points.size() <= parameters) return;
  double squares = 0;
  for (const auto &[s, m] : points) squares += std::pow(m - y - m_correction.exponent * (s - x), 2);
  m_correction.typicalError = std::sqrt(squares / static_cast<double>(points.size() - parameters));
}

Prediction BudgetSolver::predict(std::span<const std::size_t> choice) const {
  std::int64_t bits = 0;
  std::vector<double> extra(m_fp16.size());
  for (std::size_t layer = 0; layer < choice.size(); ++layer) {
    const Option &chosen = option(layer, choice[layer]);
    bits += chosen.bits;
    for (std::size_t i = 0; i < extra.size(); ++i) extra[i] += chosen.extra[i];
  }
  const double floor = meanOfValues(m_fp16);
  Prediction p;
  p.bytesPerToken = static_cast<double>(bits) / 8 / static_cast<double>(m_window);
  p.relativeSize = p.bytesPerToken / static_cast<double>(fp16KvBytes(m_shape, 1));
  const Estimate sum = meanOf(extra);
  p.sumKl = floor + sum.mean;
  p.kl = sum;
  for (double *value : {&p.kl.mean, &p.kl.low, &p.kl.high}) *value = floor + m_correction(*value);
  return p;
}

std::optional<Prediction> BudgetSolver::predict(const PolicySpec &policy) const {
  std::vector<std::size_t> choice;
  for (Index layer = 0; layer < m_shape.layers; ++layer) {
    const auto found = m_byNames.find(layerNames(policy.withAutoSource(m_autoSource), layer));
    if (found == m_byNames.end()) return {};
    choice.push_back(found->second);
  }
  return predict(choice);
}

SolvedPlan BudgetSolver::planOf(std::vector<std::size_t> choice) const {
  SolvedPlan solved;
  std::vector<LayerPolicies> policies;
  for (std::size_t layer = 0; layer < choice.size(); ++layer) {
    const Option &chosen = option(layer, choice[layer]);
    policies.push_back(chosen.policies);
    solved.layers.push_back(
        {chosen.policies, static_cast<double>(chosen.bits) / 8 / static_cast<double>(m_window), chosen.meanExtra});
  }
  solved.plan = planOfLayers(policies);
  solved.prediction = predict(choice);
  return solved;
}

SolvedPlan BudgetSolver::withinBytes(double bytesPerToken) const {
  const double bits =
      std::floor(bytesPerToken * 8 * static_cast<double>(m_window) + 0.5); // a size that was printed fits itself
  const double least = m_leastBytes * 8 * static_cast<double>(m_window);
  if (!(bits >= std::floor(least + 0.5) && bytesPerToken <= m_mostBytes))
    throw Error(Code::Usage,
                fmt::format("no plan for {:g} bytes a token: those of this matrix take from {:.1f} to {:.1f} (FP16), that "
                            "is {:.4f} to 1 of FP16",
                            bytesPerToken, m_leastBytes, m_mostBytes, m_leastBytes / m_mostBytes));
  return planOf(leastCost(budgetLayers(), static_cast<std::int64_t>(bits)).choice);
}

SolvedPlan BudgetSolver::withinKl(double nats) const {
  if (!(nats >= m_leastKl))
    throw Error(Code::Usage, fmt::format("no plan of this matrix is expected to stay below a KL of {:.3g} nats: the lowest "
                                         "possible is {:.3g}",
                                         nats, m_leastKl));
  return planOf(leastBits(budgetLayers(), m_correction.inverse(nats - meanOfValues(m_fp16))).choice);
}

std::vector<std::vector<BudgetOption>> BudgetSolver::budgetLayers() const {
  std::vector<std::vector<BudgetOption>> layers(static_cast<std::size_t>(m_shape.layers));
  for (const auto &options : m_options)
    for (std::size_t layer = 0; layer < layers.size(); ++layer)
      layers[layer].push_back({planText(options[layer].policies.k), options[layer].bits, options[layer].meanExtra});
  return layers;
}

PolicySpec BudgetSolver::uniform(std::size_t index) const {
  const LayerPolicies &policies = m_options[index].front().policies;
  if (planText(policies.k) == planText(policies.v)) return policies.k; // with first_layers=0
  return makePlan({{0, -1, Side::K, policies.k}, {0, -1, Side::V, policies.v}});
}

std::vector<UniformPolicy> BudgetSolver::uniformsWithin(double bytesPerToken) const {
  std::vector<UniformPolicy> all;
  for (std::size_t index = 0; index < m_options.size(); ++index) {
    const std::vector<std::size_t> choice(static_cast<std::size_t>(m_shape.layers), index);
    const Prediction prediction = predict(choice);
    if (prediction.bytesPerToken <= bytesPerToken) all.push_back({uniform(index), prediction});
  }
  std::ranges::stable_sort(all, {}, [](const UniformPolicy &u) { return u.prediction.sumKl; });
  return all;
}

} // namespace xqs
