// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "analysis/compare.h"
#include "analysis/noise.h"
#include "error.h"
#include "results_json.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <charconv>
#include <cmath>

namespace xqs::cli {

namespace {

using nlohmann::json;

struct Set {
  RowSet rows;
  std::vector<NoiseRow> noise;
};

/// "F.xqs" or "F.xqs#run": evaluations of a store, or one of them.
Set readSet(const std::string &argument) {
  std::string file = argument;
  RowId only = 0;
  if (const std::size_t hash = argument.rfind('#'); hash != std::string::npos && !std::filesystem::exists(argument)) {
    const char *begin = argument.data() + hash + 1, *end = argument.data() + argument.size();
    const auto [last, error] = std::from_chars(begin, end, only);
    if (error != std::errc{} || last != end || only < 1)
      throw Error(Code::Usage, fmt::format("'{}': after # comes the number of a run, as study.xqs#2", argument));
    file = argument.substr(0, hash);
  }
  RunReader reader(file);
  Set set;
  set.rows.name = argument;
  for (RunRow &run : reader.rowsAfter<RunRow>(0))
    if (run.kind == "eval" && (only == 0 || run.id == only)) set.rows.runs.push_back(std::move(run));
  if (set.rows.runs.empty())
    throw Error(Code::Usage, only == 0 ? fmt::format("{} has no evaluation; compare stores of eval or run", file)
                                       : fmt::format("{} has no evaluation number {}; leave #{} out to compare all of it",
                                                     file, only, only));
  const auto wanted = [&](RowId run) {
    return std::any_of(set.rows.runs.begin(), set.rows.runs.end(), [run](const RunRow &r) { return r.id == run; });
  };
  set.rows.policies = reader.rowsAfter<PolicyRow>(0), set.rows.windows = reader.rowsAfter<WindowRow>(0);
  for (NoiseRow &row : reader.rowsAfter<NoiseRow>(0))
    if (wanted(row.run)) set.noise.push_back(row);
  return set;
}

double meanNll(const PolicyScores &scores) {
  double sum = 0;
  for (const WindowRow &row : scores.windows) sum += row.meanNll;
  return sum / static_cast<double>(scores.windows.size());
}

std::string interval(const Estimate &e, bool belowNoise) {
  if (e.count == 0) return "no window in both";
  return std::isnan(e.low)
             ? fmt::format("{:+.5f}{}", e.mean, belowNoise ? " (noise)" : "")
             : fmt::format("{:+.5f} ({:+.5f} to {:+.5f}){}", e.mean, e.low, e.high, belowNoise ? " (noise)" : "");
}

std::string table(const std::vector<ComparedRow> &rows, const std::vector<RowSet> &sets, const NoiseFloor &noise) {
  std::string text;
  for (std::size_t i = 0; i < sets.size(); ++i)
    text += fmt::format("{}: {}, {} runs\n", static_cast<char>('A' + i), sets[i].name, sets[i].runs.size());
  text += noise.count > 0 ? fmt::format("noise floor of one window: {:.6f} nats of NLL, {:.6f} of KL ({} measured)\n",
                                        noise.nllNats, noise.klNats, noise.count)
                          : "noise floor: not measured; run with noise_floor to know which differences mean something\n";
  for (const ComparedRow &row : rows) {
    text += "\n" + row.policy + "\n";
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      const ComparedRow::Cell &cell = row.cells[i];
      const char name = static_cast<char>('A' + i);
      if (!cell.scores) {
        text += fmt::format("  {}  {}\n", name, cell.refused.empty() ? "not there" : "measured otherwise: " + cell.refused);
        continue;
      }
      text += fmt::format("  {}  ppl {:<10.4f} windows {:<4} run {}\n", name, std::exp(meanNll(*cell.scores)),
                          cell.scores->windows.size(), cell.scores->run.id);
      if (cell.toFirst)
        text += fmt::format("     {} - A: NLL {}, KL {} nats, {} windows\n", name,
                            interval(cell.toFirst->nll, cell.toFirst->nllBelowNoise),
                            interval(cell.toFirst->kl, cell.toFirst->klBelowNoise), cell.toFirst->nll.count);
    }
  }
  return text;
}

json asJson(const std::vector<ComparedRow> &rows, const std::vector<RowSet> &sets, const NoiseFloor &noise) {
  json list = json::array(), names = json::array();
  for (const RowSet &set : sets) names.push_back(set.name);
  for (const ComparedRow &row : rows) {
    json cells = json::array();
    for (const ComparedRow::Cell &cell : row.cells) {
      json one = {{"refused", cell.refused}};
      if (cell.scores)
        one.update({{"run", cell.scores->run.id},
                    {"ppl", std::exp(meanNll(*cell.scores))},
                    {"windows", cell.scores->windows.size()}});
      if (cell.toFirst)
        one.update({{"nll_difference", estimateJson(cell.toFirst->nll)},
                    {"nll_below_noise", cell.toFirst->nllBelowNoise},
                    {"kl_difference", estimateJson(cell.toFirst->kl)},
                    {"kl_below_noise", cell.toFirst->klBelowNoise}});
      cells.push_back(one);
    }
    list.push_back({{"policy", row.policy}, {"sets", cells}});
  }
  return {{"sets", names},
          {"noise_floor", {{"nll", noise.nllNats}, {"kl", noise.klNats}, {"measured", noise.count}}},
          {"policies", list}};
}

} // namespace

void addCompare(CLI::App &app) {
  struct Options {
    std::vector<std::string> sets;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App *command = app.add_subcommand("compare", "Hold policies of two or more runs side by side, paired by window");
  command->add_option("sets", options->sets, "stores, or single runs of them as F.xqs#2; all are compared with the first")
      ->type_name("A[#run] B[#run]...")
      ->required()
      ->expected(2, 26);
  command->add_flag("--json", options->json, "as JSON");
  command->footer("A difference within the noise floor is marked (noise): another order of summation moves as much.\n\n" +
                  exitCodeHelp());
  command->callback([options] {
    std::vector<RowSet> sets;
    std::vector<NoiseRow> noise;
    for (const std::string &argument : options->sets) {
      Set set = readSet(argument);
      sets.push_back(std::move(set.rows));
      noise.insert(noise.end(), set.noise.begin(), set.noise.end());
    }
    const NoiseFloor floor = noiseFloor(noise);
    const std::vector<ComparedRow> rows = sideBySide(sets, floor.count > 0 ? floor.nllNats : 0);
    options->json ? printJson(asJson(rows, sets, floor)) : print(table(rows, sets, floor));
  });
}

} // namespace xqs::cli
