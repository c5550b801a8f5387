// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "analysis/noise.h"
#include "results_json.h"
#include "sets.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace xqs::cli {

namespace {

using nlohmann::json;

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

void addCompare(const Command &app) {
  struct Options {
    std::vector<std::string> sets;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  const Command command = app.add("compare", "Hold policies of two or more runs side by side, paired by window");
  command
      .option("sets", options->sets, "A[#run] B[#run]...",
              "stores, or single runs of them as F.xqs#2; all are compared with the first")
      .required()
      .count(2, 26);
  command.flag("--json", options->json, "as JSON");
  command.about("A difference within the noise floor is marked (noise): another order of summation moves as much.");
  command.does([options] {
    std::vector<RowSet> sets;
    std::vector<NoiseRow> noise;
    for (const std::string &argument : options->sets) {
      StoredSet set = readSet(argument);
      sets.push_back(std::move(set.rows));
      noise.insert(noise.end(), set.noise.begin(), set.noise.end());
    }
    const NoiseFloor floor = noiseFloor(noise);
    const std::vector<ComparedRow> rows = sideBySide(sets, floor);
    options->json ? printJson(asJson(rows, sets, floor)) : print(table(rows, sets, floor));
  });
}

} // namespace xqs::cli
