// SPDX-License-Identifier: Apache-2.0
#include "solver.h"

#include "cache/layout.h"
#include "error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace xqs {

double Correction::operator()(double sumNats) const { return sumNats <= 0 ? sumNats : factor * std::pow(sumNats, exponent); }

double Correction::inverse(double nats) const { return nats <= 0 ? nats : std::pow(nats / factor, 1 / exponent); }

BudgetSolver::BudgetSolver(const SensitivityMatrix &matrix) : m_options(matrix) {
  if (m_options.count() < 2)
    throw Error(Code::Usage,
                fmt::format("no setting of the matrix is measured in every layer ({} are in some); finish the study: "
                            "xqscope-cli run sensitivity --store with the same store",
                            leftOut().size()));
  fitCorrection(matrix);
  const Choices all = choices();
  std::int64_t fp16 = 0;
  for (std::size_t layer = 0; layer < m_options.layers(); ++layer) fp16 += m_options.of(layer, 0).bits;
  m_mostBytes = m_options.bytesPerToken(fp16);
  m_leastBytes = m_options.bytesPerToken(leastBits(all.layers, std::numeric_limits<double>::infinity()).bits);
  m_leastKl = m_options.fp16Kl() + m_correction(leastCost(all.layers, std::numeric_limits<std::int64_t>::max()).cost);
}

BudgetSolver::Choices BudgetSolver::choices() const {
  Choices all;
  for (std::size_t layer = 0; layer < m_options.layers(); ++layer) {
    auto &options = all.layers.emplace_back();
    auto &indices = all.options.emplace_back();
    for (std::size_t index = 0; index < m_options.count(); ++index) {
      const LayerOptions::Option &o = m_options.of(layer, index);
      if (!o.possible) continue;
      options.push_back({planText(o.policies.k), o.bits, o.meanExtra, o.chain, o.continues});
      indices.push_back(index);
    }
  }
  return all;
}

void BudgetSolver::fitCorrection(const SensitivityMatrix &matrix) {
  std::vector<std::pair<double, double>> points; // ln of sum, ln of measured
  for (const PolicyScores &scores : matrix.whole) {
    const std::optional<Prediction> prediction = predict(PolicySpec::parse(scores.policy.policy));
    if (!prediction) continue;
    const double floor = m_options.fp16Kl();
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

Prediction BudgetSolver::predict(std::span<const std::size_t> options) const {
  std::int64_t bits = 0;
  std::vector<double> extra(m_options.windows());
  for (std::size_t layer = 0; layer < options.size(); ++layer) {
    const LayerOptions::Option &o = m_options.of(layer, options[layer]);
    bits += o.bits;
    for (std::size_t i = 0; i < extra.size(); ++i) extra[i] += o.extra[i];
  }
  const double floor = m_options.fp16Kl();
  Prediction p;
  p.bytesPerToken = m_options.bytesPerToken(bits);
  p.relativeSize = p.bytesPerToken / static_cast<double>(fp16KvBytes(m_options.shape(), 1));
  p.kl = meanOf(extra);
  p.sumKl = floor + p.kl.mean;
  for (double *value : {&p.kl.mean, &p.kl.low, &p.kl.high}) *value = floor + m_correction(*value);
  return p;
}

std::optional<Prediction> BudgetSolver::predict(const PolicySpec &policy) const {
  std::vector<std::size_t> options;
  for (std::size_t layer = 0; layer < m_options.layers(); ++layer) {
    const std::optional<std::size_t> index = m_options.indexOf(policy, static_cast<Index>(layer));
    if (!index) return {};
    options.push_back(*index);
  }
  return predict(options);
}

SolvedPlan BudgetSolver::planOf(const Choices &choices, const BudgetPlan &chosen) const {
  std::vector<std::size_t> options;
  std::vector<LayerPolicies> policies;
  SolvedPlan solved;
  for (std::size_t layer = 0; layer < chosen.choice.size(); ++layer) {
    options.push_back(choices.options[layer][chosen.choice[layer]]);
    const LayerOptions::Option &o = m_options.of(layer, options.back());
    policies.push_back(o.policies);
    if (o.continues) { // written alike, a base and equal deltas are one entry
      PolicySpec below = policies[layer - 1].k;
      const PolicySpec own = o.policies.k.with("first_bits", std::to_string(below.integer("first_bits")));
      if (!m_options.of(layer - 1, options[layer - 1]).continues)
        below = below.with("bits", std::to_string(own.integer("bits")));
      policies[layer - 1] = {below, below}, policies[layer] = {own, own};
    }
    solved.layers.push_back({{}, m_options.bytesPerToken(o.bits), o.meanExtra});
  }
  for (std::size_t layer = 0; layer < policies.size(); ++layer) solved.layers[layer].policies = policies[layer];
  solved.plan = planOfLayers(policies);
  solved.prediction = predict(options);
  return solved;
}

SolvedPlan BudgetSolver::withinBytes(double bytesPerToken) const {
  const std::int64_t bits = bytesPerToken <= m_mostBytes ? m_options.bits(bytesPerToken) : -1;
  if (bits < m_options.bits(m_leastBytes))
    throw Error(Code::Usage,
                fmt::format("no plan for {:g} bytes a token: those of this matrix take from {:.1f} to {:.1f} (FP16), that "
                            "is {:.4f} to 1 of FP16",
                            bytesPerToken, m_leastBytes, m_mostBytes, m_leastBytes / m_mostBytes));
  const Choices all = choices();
  return planOf(all, leastCost(all.layers, bits));
}

SolvedPlan BudgetSolver::withinKl(double nats) const {
  if (!(nats >= m_leastKl))
    throw Error(Code::Usage, fmt::format("no plan of this matrix is expected to stay below a KL of {:.3g} nats: the lowest "
                                         "possible is {:.3g}",
                                         nats, m_leastKl));
  const Choices all = choices();
  return planOf(all, leastBits(all.layers, m_correction.inverse(nats - m_options.fp16Kl())));
}

std::vector<UniformPolicy> BudgetSolver::uniformsOf(std::size_t index) const {
  const LayerOptions::Option &last = m_options.of(m_options.layers() - 1, index);
  const LayerPolicies &policies = last.policies;
  std::vector<std::size_t> options(m_options.layers(), index);
  if (!last.continues) {
    if (last.chain != 0) return {};                                 // bases do not follow each other
    const bool same = planText(policies.k) == planText(policies.v); // as an option, with first_layers=0
    return {{same ? policies.k : makePlan({{0, -1, Side::K, policies.k}, {0, -1, Side::V, policies.v}}), predict(options)}};
  }
  std::vector<UniformPolicy> all;
  for (std::size_t base = 0; base < m_options.count(); ++base) {
    const LayerOptions::Option &first = m_options.of(0, base);
    if (first.chain != last.chain || first.continues) continue;
    options.front() = base;
    const PolicySpec policy = policies.k.with("first_bits", std::to_string(first.policies.k.integer("first_bits")));
    if (m_options.indexOf(policy, 0) == base) all.push_back({policy, predict(options)});
  }
  return all;
}

std::vector<UniformPolicy> BudgetSolver::uniformsWithin(double bytesPerToken) const {
  std::vector<UniformPolicy> all;
  for (std::size_t index = 0; index < m_options.count(); ++index)
    for (UniformPolicy &uniform : uniformsOf(index))
      if (uniform.prediction.bytesPerToken <= bytesPerToken) all.push_back(std::move(uniform));
  std::ranges::stable_sort(all, {}, [](const UniformPolicy &u) { return u.prediction.sumKl; });
  return all;
}

} // namespace xqs
