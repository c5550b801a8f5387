// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "analysis/noise.h"
#include "analysis/verification.h"
#include "error.h"
#include "results_json.h"
#include "sets.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace xqs::cli {

namespace {

using nlohmann::json;

constexpr const char *kStudy = "solve"; ///< the study that all verifications in a store belong to

struct Options {
  std::string store, output, text, model, sameBytes;
  double bytesPerToken = 0, relativeSize = 0, kl = 0;
  std::size_t uniforms = 3;
  std::vector<std::string> against;
  bool verify = false, json = false;
  std::optional<Index> firstWindow;
  Index windows = 8;
  int threads = 0;
};

/// What the command found.
struct Solution {
  SensitivityMatrix matrix;
  BudgetSolver solver;
  SolvedPlan solved;
  double budgetBytes = 0;               ///< a token
  std::vector<PolicySpec> others;       ///< uniform policies of that size, best expected first; behind them `--against`
  std::optional<Verification> verified; ///< with `--verify`
  RowId run = 0;                        ///< of the verification
  Index firstWindow = 0, windows = 0;   ///< of the verification
  NoiseFloor noise;
  std::vector<std::string> problems;
};

double bytesOf(const PolicySpec &policy, const SensitivityMatrix &matrix) {
  const Index bits = footprint(policy, matrix.shape, matrix.run.window, State::All).formatBits();
  return static_cast<double>(bits) / 8 / static_cast<double>(matrix.run.window);
}

Solution solve(const Options &options) {
  SensitivityMatrix matrix = readMatrix(options.store);
  BudgetSolver solver(matrix);
  const auto fp16Bytes = static_cast<double>(fp16KvBytes(matrix.shape, 1));
  double budget = options.relativeSize > 0 ? options.relativeSize * fp16Bytes : options.bytesPerToken;
  if (!options.sameBytes.empty()) budget = bytesOf(PolicySpec::parse(options.sameBytes), matrix);
  SolvedPlan solved = options.kl > 0 ? solver.withinKl(options.kl) : solver.withinBytes(budget);
  if (options.kl > 0) budget = solved.prediction.bytesPerToken;
  Solution s{std::move(matrix), std::move(solver), std::move(solved), budget, {}, {}, 0, 0, 0, {}, {}};
  for (const UniformPolicy &uniform : s.solver.uniformsWithin(budget * (1 + 1e-9)))
    if (s.others.size() < options.uniforms) s.others.push_back(uniform.policy);
  if (!options.sameBytes.empty()) s.others.push_back(PolicySpec::parse(options.sameBytes));
  for (PolicySpec &policy : parsePolicies(options.against)) s.others.push_back(std::move(policy));
  return s;
}

/// The plan and the others as a study of the matrix's own setting, on windows of their own.
Study verificationStudy(const Solution &s, const Options &options) {
  json base = json::parse(s.matrix.run.spec, nullptr, false);
  if (!base.is_object())
    throw Error(Code::Usage, fmt::format("run {} does not say how it was measured; it cannot be verified", s.matrix.run.id));
  const bool sameText = options.text.empty() || base.value("text", "") == options.text;
  base.erase("policies");
  base["captures"] = false, base["noise_floor"] = true;
  if (!sameText) base["text"] = options.text;
  if (!options.model.empty()) base["model"] = options.model;
  base["first_window"] = options.firstWindow.value_or(sameText ? s.matrix.windows.back() + 1 : 0);
  base["windows"] = options.windows;
  json policies = json::array({"fp16", s.solved.plan.canonical()});
  for (const PolicySpec &policy : s.others) policies.push_back(policy.canonical());
  return Study::parse(json({{"name", kStudy}, {"base", base}, {"policies", policies}}).dump(), kStudy);
}

/// Refuses what would not verify the plan: another model, the windows that chose it, settings that do not fit.
void check(const PlannedRun &run, const Solution &s) {
  if (run.modelHash != s.matrix.run.modelHash)
    throw Error(Code::Usage,
                fmt::format("the matrix was measured on another model ({}, {:.12}) than '{}' is now ({:.12}); give "
                            "that one with --model",
                            s.matrix.run.model, s.matrix.run.modelHash, run.experiment.model, run.modelHash));
  if (run.error) throw *run.error;
  const Index first = run.experiment.firstWindow, end = first + run.windows;
  if (run.key == s.matrix.run.studyKey)
    for (const std::int64_t window : s.matrix.windows)
      if (window >= first && window < end)
        throw Error(Code::Usage, fmt::format("window {} has chosen the plan and cannot verify it; verify on others, as with "
                                             "--first-window {}",
                                             window, s.matrix.windows.back() + 1));
  for (const RunPart::Misfit &misfit : run.part.misfits) throw Error(Code::Usage, misfit.message);
}

void verify(Solution &s, const Options &options) {
  const Study study = verificationStudy(s, options);
  const std::string store = storeOf(options.store);
  const StudyPart part{store, {}, 1, 1};
  const PlannedRun planned = planStudy(study, part).front();
  check(planned, s);
  {
    ProgressLine line;
    StudyHooks hooks;
    hooks.stop = interrupted();
    hooks.progress = [&](const StudyProgress &progress) { line.show(progress); };
    s.problems = runStudy(study, part, backends(), hooks, options.threads).problems;
  }
  RunReader reader(store);
  s.run = storedRun(reader, kStudy, planned.key).id;
  RowSet rows{store, reader.rowsAfter<RunRow>(0), reader.rowsAfter<PolicyRow>(0), reader.rowsAfter<WindowRow>(0)};
  std::erase_if(rows.runs, [](const RunRow &run) { return run.kind != "eval"; });
  const auto run = std::ranges::find(rows.runs, s.run, &RunRow::id);
  s.firstWindow = planned.experiment.firstWindow, s.windows = planned.windows;
  s.verified = verification(rows, *run, s.firstWindow, s.windows, s.solver, s.solved.plan, s.others, s.budgetBytes);
  std::vector<NoiseRow> noise = reader.rowsAfter<NoiseRow>(0);
  std::erase_if(noise, [&](const NoiseRow &row) { return row.run != s.run; });
  s.noise = noiseFloor(noise);
}

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

std::string table(const Solution &s) {
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
      const double bytes = bytesOf(policy, s.matrix);
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

json predictionJson(const std::optional<Prediction> &p) {
  if (!p) return nullptr;
  return {{"sum_kl", p->sumKl}, {"kl", estimateJson(p->kl)}};
}

json policyJson(const VerifiedPolicy &v) {
  return {{"policy", v.policy.canonical()},    {"bytes_per_token", v.bytesPerToken},
          {"relative_size", v.relativeSize},   {"predicted", predictionJson(v.prediction)},
          {"measured_kl", estimateJson(v.kl)}, {"plan_difference", estimateJson(v.planDifference)}};
}

json asJson(const Solution &s) {
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
                      {"bytes_per_token", bytesOf(policy, s.matrix)},
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

} // namespace

void addSolve(CLI::App &app) {
  const auto options = std::make_shared<Options>();
  CLI::App *command = app.add_subcommand(
      "solve",
      "Choose method and bits of each layer under a limit of bytes or of KL, from a matrix of isolated sensitivity");
  command
      ->add_option("store", options->store,
                   "the .xqs file with the matrix, or one run of it as F.xqs#2; verifications go there")
      ->type_name("F.xqs[#run]")
      ->required();
  CLI::Option_group *limit = command->add_option_group("limit", "one of");
  limit->add_option("--bytes-per-token", options->bytesPerToken, "cache bytes a token, all layers")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  limit->add_option("--relative-size", options->relativeSize, "the same as a share of FP16 KV")
      ->type_name("R")
      ->check(CLI::PositiveNumber);
  limit->add_option("--same-bytes-as", options->sameBytes, "as many as this policy takes, which is verified too")
      ->type_name("SPEC");
  limit->add_option("--kl", options->kl, "the smallest plan whose expected KL is at most this, nats")
      ->type_name("NATS")
      ->check(CLI::PositiveNumber);
  limit->require_option(1);
  command->add_option("-o,--output", options->output, "write the plan to this file; use it as --policy plan:@FILE")
      ->type_name("F.json");
  command
      ->add_option("--uniforms", options->uniforms, "how many policies that are the same in every layer to show beside it")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(0, 100));
  command->add_option("--against", options->against, "another policy to verify beside the plan; may be repeated")
      ->type_name("SPEC")
      ->allow_extra_args(false);
  command->add_flag("--verify", options->verify, "score the plan and the others on windows that the matrix has not");
  command->add_option("--first-window", options->firstWindow, "to verify on; else the one after the matrix's last")
      ->type_name("K")
      ->check(CLI::Range(0, 1'000'000));
  command->add_option("--windows", options->windows, "how many to verify on; 0: all that fit")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(0, 1'000'000));
  command->add_option("--text", options->text, "verify on another text than the matrix's")->type_name("F");
  command->add_option("--model", options->model, "where the matrix's model is now")->type_name("F");
  command->add_option("--threads", options->threads, "0: one a core")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(0, 1024));
  command->add_flag("--json", options->json, "as JSON");
  command->footer("Measure the matrix with: xqscope-cli run sensitivity --store F.xqs\n\n" + exitCodeHelp());
  command->callback([options] {
    Solution solution = solve(*options);
    if (!options->output.empty()) writeTextFile(options->output, planFile(solution.solved.plan), "plan");
    if (options->verify) verify(solution, *options);
    options->json ? printJson(asJson(solution)) : print(table(solution));
  });
}

} // namespace xqs::cli
