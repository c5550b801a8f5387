// SPDX-License-Identifier: Apache-2.0
#include "solution.h"

#include "cache/layout.h"
#include "results_json.h"

#include <fmt/format.h>

#include <cmath>

namespace xqs::cli {

using nlohmann::json;

double bytesPerToken(const PolicySpec &policy, const SensitivityMatrix &matrix) {
  const Index bits = footprint(policy, matrix.shape, matrix.run.window, State::All).formatBits();
  return static_cast<double>(bits) / 8 / static_cast<double>(matrix.run.window);
}

namespace {

std::string interval(const Estimate &e, const char *format = "{:.4g}") {
  if (e.count == 0) return "not measured";
  const auto number = [&](double x) { return fmt::format(fmt::runtime(format), x); };
  return std::isnan(e.low) ? number(e.mean) : fmt::format("{} ({} to {})", number(e.mean), number(e.low), number(e.high));
}

std::string sideText(const LayerPolicies &p) {
  const std::string k = planText(p.k), v = planText(p.v);
  return k == v ? k : fmt::format("K {}  V {}", k, v);
}

/// Layers that follow each other with the same settings in one line.
std::string planTable(const SolvedPlan &solved) {
  std::string text = fmt::format("{:>9} {:>12} {:>12}  settings\n", "layers", "bytes/token", "KL alone");
  const auto &layers = solved.layers;
  for (std::size_t first = 0, end = 0; first < layers.size(); first = end) {
    double bytes = 0, extra = 0;
    for (end = first; end < layers.size() && sideText(layers[end].policies) == sideText(layers[first].policies); ++end)
      bytes += layers[end].bytesPerToken, extra += layers[end].extraKl;
    text += fmt::format("{:>9} {:>12.1f} {:>12.3g}  {}\n",
                        end - first == 1 ? std::to_string(first) : fmt::format("{}-{}", first, end - 1), bytes, extra,
                        sideText(layers[first].policies));
  }
  return text;
}

std::string verifiedLine(const VerifiedPolicy &v, bool isPlan, bool best) {
  const std::string error =
      v.prediction && v.kl.count > 0 ? fmt::format("{:+.0f} %", 100 * (v.prediction->kl.mean / v.kl.mean - 1)) : "-";
  return fmt::format("{:<5} {:>11.1f} {:>8.4f} {:>10} {:>10} {:<32} {:>7}  {:<36} {}\n",
                     isPlan ? "plan"
                     : best ? "best"
                            : "",
                     v.bytesPerToken, v.relativeSize, v.prediction ? fmt::format("{:.4g}", v.prediction->sumKl) : "-",
                     v.prediction ? fmt::format("{:.4g}", v.prediction->kl.mean) : "-", interval(v.kl), error,
                     isPlan ? "" : interval(v.planDifference, "{:+.4g}"), isPlan ? "(the plan)" : v.policy.canonical());
}

} // namespace

std::string solutionTable(const Solution &s) {
  const Prediction &p = s.solved.prediction;
  const Correction &c = s.solver.correction();
  std::string text =
      fmt::format("{}\nmatrix of {} windows, plan of {:.1f} bytes a token ({:.4f} of FP16), expected KL {} nats\n\n",
                  s.matrix.run.title, s.matrix.windows.size(), p.bytesPerToken, p.relativeSize, interval(p.kl));
  text += planTable(s.solved) + "\n" + s.solved.plan.canonical() + "\n\n";
  if (c.policies > 0)
    text +=
        fmt::format("expected: {:.3g} * sum^{:.3g}, sum of what the layers add alone; fitted to {} whole policies on the "
                    "matrix's windows, within {:.0f} %\n",
                    c.factor, c.exponent, c.policies, 100 * std::expm1(c.typicalError));
  for (const std::string &name : s.solver.leftOut())
    text += "left out (a delta, or not every layer is measured): " + name + "\n";
  for (const std::string &problem : s.problems) text += "problem: " + problem + "\n";
  if (!s.verified) {
    text += fmt::format(
        "\nthe same in every layer, at most {:.1f} bytes a token, best expected first\n{:>11} {:>8} {:>10} {:>10}  "
        "policy\n",
        s.budgetBytes, "bytes/token", "of FP16", "sum", "expected");
    for (const PolicySpec &policy : s.others) {
      const auto expected = s.solver.predict(policy);
      const double bytes = bytesPerToken(policy, s.matrix);
      text += fmt::format("{:>11.1f} {:>8.4f} {:>10} {:>10}  {}\n", bytes, bytes / s.solver.mostBytes(),
                          expected ? fmt::format("{:.4g}", expected->sumKl) : "-",
                          expected ? fmt::format("{:.4g}", expected->kl.mean) : "-", policy.canonical());
    }
    return text + "\nnot verified: --verify scores the plan and these on other windows\n";
  }
  const Verification &v = *s.verified;
  text += fmt::format(
      "\nverified on windows {} to {} (run {}); KL in nats, 95 % intervals over windows; noise floor {:.2g} a window\n",
      s.firstWindow, s.firstWindow + s.windows - 1, s.run, s.noise.klNats);
  text += fmt::format("{:<5} {:>11} {:>8} {:>10} {:>10} {:<32} {:>7}  {:<36} policy\n", "", "bytes/token", "of FP16", "sum",
                      "expected", "measured", "error", "KL of the plan - this one's");
  text += verifiedLine(v.plan, true, false);
  for (std::size_t i = 0; i < v.others.size(); ++i) text += verifiedLine(v.others[i], false, v.best == i);
  if (v.best) {
    const Estimate &d = v.others[*v.best].planDifference;
    text += fmt::format("\nthe plan is {} the best of these that is no larger\n", touchesZero(d) ? "not told apart from"
                                                                                  : d.mean < 0   ? "certainly better than"
                                                                                                 : "certainly worse than");
  }
  return text;
}

namespace {

json predictionJson(const std::optional<Prediction> &p) {
  if (!p) return nullptr;
  return {{"sum_kl", p->sumKl}, {"kl", estimateJson(p->kl)}};
}

json policyJson(const VerifiedPolicy &v) {
  return {{"policy", v.policy.canonical()},    {"bytes_per_token", v.bytesPerToken},
          {"relative_size", v.relativeSize},   {"predicted", predictionJson(v.prediction)},
          {"measured_kl", estimateJson(v.kl)}, {"plan_difference", estimateJson(v.planDifference)}};
}

} // namespace

json solutionJson(const Solution &s) {
  json layers = json::array(), others = json::array();
  for (std::size_t i = 0; i < s.solved.layers.size(); ++i) {
    const SolvedPlan::Layer &layer = s.solved.layers[i];
    layers.push_back({{"layer", i},
                      {"k", planText(layer.policies.k)},
                      {"v", planText(layer.policies.v)},
                      {"bytes_per_token", layer.bytesPerToken},
                      {"extra_kl", layer.extraKl}});
  }
  for (const PolicySpec &policy : s.others)
    others.push_back({{"policy", policy.canonical()},
                      {"bytes_per_token", bytesPerToken(policy, s.matrix)},
                      {"predicted", predictionJson(s.solver.predict(policy))}});
  const Correction &c = s.solver.correction();
  json result = {
      {"matrix", {{"run", s.matrix.run.id}, {"title", s.matrix.run.title}, {"windows", s.matrix.windows}}},
      {"plan", s.solved.plan.canonical()},
      {"budget_bytes_per_token", s.budgetBytes},
      {"bytes_per_token", s.solved.prediction.bytesPerToken},
      {"relative_size", s.solved.prediction.relativeSize},
      {"predicted", predictionJson(s.solved.prediction)},
      {"correction",
       {{"factor", c.factor}, {"exponent", c.exponent}, {"policies", c.policies}, {"typical_error", c.typicalError}}},
      {"layers", layers},
      {"uniform", others},
      {"left_out", s.solver.leftOut()},
      {"problems", s.problems},
      {"verified", nullptr}};
  if (!s.verified) return result;
  json verifiedOthers = json::array();
  for (const VerifiedPolicy &v : s.verified->others) verifiedOthers.push_back(policyJson(v));
  result["verified"] = {{"run", s.run},
                        {"first_window", s.firstWindow},
                        {"windows", s.windows},
                        {"noise_floor_kl", s.noise.klNats},
                        {"plan", policyJson(s.verified->plan)},
                        {"uniform", verifiedOthers},
                        {"best", s.verified->best ? json(*s.verified->best) : json()}};
  return result;
}

} // namespace xqs::cli
