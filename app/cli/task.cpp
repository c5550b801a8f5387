// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "analysis/proportion.h"
#include "results_json.h"
#include "run/task_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

namespace xqs::cli {

namespace {

using nlohmann::json;

constexpr double kSolved = 0.9; ///< of the exact model; below it a length says little (baselines.md 13)

struct Options {
  SessionOptions session;
  std::vector<std::string> policies;
  TaskPlan plan;
  bool json = false;
};

/// Runs `task(model, methods, plan)` and gives its results with the policies' names.
template <typename Task> auto withMethods(const Options &options, const Task &task) {
  const std::stop_token stop = interrupted();
  ProgressLine line;
  const auto session = openSession(options.session, line);
  std::vector<std::shared_ptr<const Method>> methods;
  std::vector<const Method *> lanes;
  for (const PolicySpec &policy : parsePolicies(options.policies)) {
    methods.push_back(session->method(policy, stop));
    lanes.push_back(methods.back().get());
  }
  TaskPlan plan = options.plan;
  plan.stop = stop;
  plan.progress = [&](double fraction) { line.show(fraction, "asking"); };
  return task(session->model(), lanes, plan);
}

std::string interval(const Estimate &e) {
  return std::isnan(e.low) ? fmt::format("{:.4f}", e.mean) : fmt::format("{:.4f} ({:.4f} to {:.4f})", e.mean, e.low, e.high);
}

json proportionJson(const Proportion &p) {
  return {{"count", p.count}, {"of", p.of}, {"share", p.share}, {"low", p.low}, {"high", p.high}};
}

std::string proportion(const Proportion &p) {
  return p.of == 0 ? std::string("nothing asked") : fmt::format("{} of {} ({:.3f} to {:.3f})", p.count, p.of, p.low, p.high);
}

// Copy ------------------------------------------------------------------------------------------------------------------

/// Of one lane over trials. The unit of intervals is the trial: tokens of one text depend on each other.
json copyJson(const CopyResult &result, const CopyResult::Lane &lane, const std::string &policy) {
  std::vector<double> shares;
  for (const Index right : lane.right) shares.push_back(static_cast<double>(right) / static_cast<double>(result.tokens));
  const Index right = std::accumulate(lane.right.begin(), lane.right.end(), Index{0});
  return {{"distance", result.distance},
          {"policy", policy.empty() ? json() : json(policy)},
          {"trials", lane.nll.size()},
          {"tokens_a_trial", result.tokens},
          {"right", right},
          {"nll", estimateJson(meanOf(lane.nll))},
          {"nll_minus_exact", estimateJson(paired(lane.nll, result.exact.nll))},
          {"right_share", estimateJson(meanOf(shares))}};
}

std::string copyRow(const CopyResult &result, const CopyResult::Lane &lane, const std::string &policy) {
  const Index right = std::accumulate(lane.right.begin(), lane.right.end(), Index{0});
  return fmt::format("{:>8}  {:<28} {:<32} {:>13}  {}\n", result.distance, interval(meanOf(lane.nll)),
                     policy.empty() ? "" : interval(paired(lane.nll, result.exact.nll)),
                     fmt::format("{}/{}", right, result.tokens * std::ssize(lane.nll)),
                     policy.empty() ? "exact model (FP32 KV)" : policy);
}

void copy(const Options &options) {
  const std::vector<CopyResult> results =
      withMethods(options, [](const Model &model, std::span<const Method *const> methods, const TaskPlan &plan) {
        return runCopyTask(model, methods, plan);
      });
  json rows = json::array();
  std::string table =
      fmt::format("copy task: random tokens twice; loss on the second copy, {} texts a distance, state stream\n\n"
                  "{:>8}  {:<28} {:<32} {:>13}  policy\n",
                  options.plan.trials, "distance", "NLL, nats (95 %)", "minus exact, paired (95 %)", "right tokens");
  for (const CopyResult &result : results)
    for (std::size_t i = 0; i <= result.policies.size(); ++i) {
      const CopyResult::Lane &lane = i == 0 ? result.exact : result.policies[i - 1];
      const std::string policy = i == 0 ? "" : PolicySpec::parse(options.policies[i - 1]).canonical();
      rows.push_back(copyJson(result, lane, policy));
      table += copyRow(result, lane, policy);
    }
  if (options.json)
    printJson({{"task", "copy"}, {"model", options.session.model}, {"seed", options.plan.seed}, {"rows", rows}});
  else
    print(table);
}

// Passkey ---------------------------------------------------------------------------------------------------------------

struct PasskeyTotals {
  Proportion exact;
  std::vector<Proportion> policies;
};

PasskeyTotals totalsOf(std::span<const PasskeyResult> results, std::size_t policies) {
  Index trials = 0, exact = 0;
  std::vector<Index> found(policies);
  for (const PasskeyResult &r : results) {
    trials += r.trials, exact += r.exact;
    for (std::size_t i = 0; i < policies; ++i) found[i] += r.policies[i];
  }
  PasskeyTotals totals{wilson(exact, trials), {}};
  for (const Index count : found) totals.policies.push_back(wilson(count, exact));
  return totals;
}

std::string passkeyTable(const Options &options, const std::vector<PasskeyResult> &results) {
  std::string table =
      fmt::format("passkey: five digits said once in filler text; exact match of the greedy answer, {} trials "
                  "a place, state stream\n\n{:>7} {:>6} {:>8}",
                  options.plan.trials, "tokens", "depth", "exact");
  for (std::size_t i = 0; i < options.policies.size(); ++i) table += fmt::format(" {:>8}", fmt::format("[{}]", i + 1));
  table += "\n";
  for (const PasskeyResult &r : results) {
    table += fmt::format("{:>7} {:>6.2f} {:>8}", r.tokens, r.depth, fmt::format("{}/{}", r.exact, r.trials));
    for (const Index found : r.policies) table += fmt::format(" {:>8}", fmt::format("{}/{}", found, r.exact));
    table += "\n";
  }
  const PasskeyTotals totals = totalsOf(results, options.policies.size());
  table += fmt::format("\nthe exact model finds {}; of these find (95 %)\n", proportion(totals.exact));
  for (std::size_t i = 0; i < options.policies.size(); ++i)
    table += fmt::format("  [{}] {:<28} {}\n", i + 1, proportion(totals.policies[i]),
                         PolicySpec::parse(options.policies[i]).canonical());
  for (const Index tokens : options.plan.lengths) {
    std::vector<PasskeyResult> of;
    std::copy_if(results.begin(), results.end(), std::back_inserter(of),
                 [&](const PasskeyResult &r) { return r.tokens == tokens; });
    const Proportion exact = totalsOf(of, options.policies.size()).exact;
    if (exact.share < kSolved)
      table += fmt::format("at {} tokens the exact model finds {} of {}, less than {:.0f} %: this length says little about "
                           "caches\n",
                           tokens, exact.count, exact.of, 100 * kSolved);
  }
  return table;
}

void passkey(const Options &options) {
  const std::vector<PasskeyResult> results =
      withMethods(options, [](const Model &model, std::span<const Method *const> methods, const TaskPlan &plan) {
        return runPasskeyTask(model, methods, plan);
      });
  if (!options.json) return print(passkeyTable(options, results));
  const auto found = [&](const PasskeyTotals &totals) {
    json list = json::array();
    for (std::size_t i = 0; i < totals.policies.size(); ++i) {
      json row = proportionJson(totals.policies[i]);
      row["policy"] = PolicySpec::parse(options.policies[i]).canonical();
      list.push_back(row);
    }
    return json{{"exact", proportionJson(totals.exact)}, {"policies", list}};
  };
  json rows = json::array();
  for (const PasskeyResult &r : results) {
    json row = found(totalsOf({&r, 1}, options.policies.size()));
    row["tokens"] = r.tokens, row["depth"] = r.depth;
    rows.push_back(row);
  }
  printJson({{"task", "passkey"},
             {"model", options.session.model},
             {"seed", options.plan.seed},
             {"total", found(totalsOf(results, options.policies.size()))},
             {"rows", rows}});
}

Command addTaskCommand(const Command &task, const char *name, const char *what, const char *lengths,
                       const std::shared_ptr<Options> &options) {
  const Command command = task.add(name, what);
  addModelOptions(command, options->session); // no text: the task is the text
  command.option("--lengths", options->plan.lengths, "N,...", lengths).shown().range(2, 1 << 20);
  command.option("--trials", options->plan.trials, "N", "texts of each kind").shown().range(1, 100'000);
  command.option("--seed", options->plan.seed, "N", "of the texts").shown();
  addPolicyOption(command, options->policies).required();
  command.flag("--json", options->json, "one JSON object instead of a table");
  return command;
}

} // namespace

void addTask(const Command &app) {
  const Command task = app.add("task", "What comes back out of a cache: the copy task and the passkey task");
  const auto copies = std::make_shared<Options>();
  copies->plan.lengths = {16, 64, 256}, copies->plan.trials = 8;
  addTaskCommand(task, "copy", "Random tokens twice: the loss on the second copy by distance",
                 "distances: tokens of one copy", copies)
      .does([copies] { copy(*copies); });

  const auto keys = std::make_shared<Options>();
  keys->plan.lengths = {256, 512}, keys->plan.depths = {0, 0.5, 1}, keys->plan.trials = 5;
  const Command command = addTaskCommand(task, "passkey", "A key said once in a long text and asked for at its end",
                                         "tokens of the prompt", keys);
  command.option("--depths", keys->plan.depths, "D,...", "where in the text the key is said: 0 first, 1 last")
      .shown()
      .fraction();
  command.does([keys] { passkey(*keys); });
}

} // namespace xqs::cli
