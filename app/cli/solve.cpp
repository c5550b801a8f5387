// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "error.h"
#include "sets.h"
#include "solution.h"

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

Solution solve(const Options &options) {
  SensitivityMatrix matrix = readMatrix(options.store);
  BudgetSolver solver(matrix);
  const auto fp16Bytes = static_cast<double>(fp16KvBytes(matrix.shape, 1));
  double budget = options.relativeSize > 0 ? options.relativeSize * fp16Bytes : options.bytesPerToken;
  if (!options.sameBytes.empty()) budget = bytesPerToken(PolicySpec::parse(options.sameBytes), matrix);
  SolvedPlan solved = options.kl > 0 ? solver.withinKl(options.kl) : solver.withinBytes(budget);
  if (options.kl > 0) budget = solved.prediction.bytesPerToken;
  Solution s{std::move(matrix), std::move(solver), std::move(solved), budget, {}, {}, 0, 0, 0, {}, {}};
  const auto add = [&](const PolicySpec &policy) {
    if (std::ranges::find(s.others, policy.canonical(), &PolicySpec::canonical) == s.others.end())
      s.others.push_back(policy);
  };
  for (const UniformPolicy &uniform : s.solver.uniformsWithin(budget * (1 + 1e-9)))
    if (s.others.size() < options.uniforms) add(uniform.policy);
  if (!options.sameBytes.empty()) add(PolicySpec::parse(options.sameBytes));
  for (const PolicySpec &policy : parsePolicies(options.against)) add(policy);
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
  StudyPart part;
  part.store = store;
  part.autoBackend = s.matrix.run.backend; // figures of another backend would be another run's
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

} // namespace

void addSolve(const Command &app) {
  const auto options = std::make_shared<Options>();
  const Command command =
      app.add("solve",
              "Choose method and bits of each layer under a limit of bytes or of KL, from a matrix of isolated sensitivity");
  command
      .option("store", options->store, "F.xqs[#run]",
              "the .xqs file with the matrix, or one run of it as F.xqs#2; verifications go there")
      .required();
  const Command limit = command.exactlyOneOf("limit");
  limit.option("--bytes-per-token", options->bytesPerToken, "N", "cache bytes a token, all layers").positive();
  limit.option("--relative-size", options->relativeSize, "R", "the same as a share of FP16 KV").positive();
  limit.option("--same-bytes-as", options->sameBytes, "SPEC", "as many as this policy takes, which is verified too");
  limit.option("--kl", options->kl, "NATS", "the smallest plan whose expected KL is at most this, nats").positive();
  command.option("-o,--output", options->output, "F.json", "write the plan to this file; use it as --policy plan:@FILE");
  command
      .option("--uniforms", options->uniforms, "N", "how many policies that are the same in every layer to show beside it")
      .shown()
      .range(0, 100);
  command.option("--against", options->against, "SPEC", "another policy to verify beside the plan; may be repeated");
  command.flag("--verify", options->verify, "score the plan and the others on windows that the matrix has not");
  command.option("--first-window", options->firstWindow, "K", "to verify on; else the one after the matrix's last")
      .range(0, 1'000'000);
  command.option("--windows", options->windows, "N", "how many to verify on; 0: all that fit").shown().range(0, 1'000'000);
  command.option("--text", options->text, "F", "verify on another text than the matrix's");
  command.option("--model", options->model, "F", "where the matrix's model is now");
  command.option("--threads", options->threads, "N", "0: one a core").shown().range(0, 1024);
  command.flag("--json", options->json, "as JSON");
  command.about("Measure the matrix with: xqscope-cli run sensitivity --store F.xqs");
  command.does([options] {
    Solution solution = solve(*options);
    if (!options->output.empty()) writeTextFile(options->output, planFile(solution.solved.plan), "plan");
    if (options->verify) verify(solution, *options);
    options->json ? printJson(solutionJson(solution)) : print(solutionTable(solution));
  });
}

} // namespace xqs::cli
