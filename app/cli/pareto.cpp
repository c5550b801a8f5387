// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "analysis/pareto.h"
#include "error.h"
#include "results_json.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace xqs::cli {

namespace {

using nlohmann::json;

struct Options {
  std::string store, quality = "kl";
  double within = 0;
  bool json = false;
};

/// Runs whose windows may be paired, with the policies that were scored on the same of them: others cannot share a front.
struct Group {
  std::vector<RunRow> runs;
  std::vector<CurvePoint> points; ///< by size
  std::vector<Standing> standings;
  std::optional<BestPoint> best; ///< of what fits, where that was asked for
};

/// One group for each set of windows. Of a policy that two runs scored on the same windows, the later one.
std::vector<Group> byWindows(const std::vector<RunRow> &runs, std::vector<CurvePoint> points) {
  std::vector<Group> groups;
  for (CurvePoint &point : points) {
    if (point.windows.empty()) continue;
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const Group &g) { return g.points.front().windows == point.windows; });
    if (group == groups.end()) group = groups.insert(group, {runs, {}, {}, {}});
    std::erase_if(group->points, [&](const CurvePoint &p) { return p.policy == point.policy; });
    group->points.push_back(std::move(point));
  }
  return groups;
}

std::vector<Group> readGroups(const Options &options) {
  RunReader reader(options.store);
  std::vector<std::vector<RunRow>> alike;
  for (RunRow &run : reader.rowsAfter<RunRow>(0)) {
    if (run.kind != "eval") continue;
    const auto fits = std::find_if(alike.begin(), alike.end(), [&](const std::vector<RunRow> &runs) {
      return differingFields(runs.front(), run).empty();
    });
    if (fits == alike.end())
      alike.push_back({std::move(run)});
    else
      fits->push_back(std::move(run));
  }
  const std::vector<WindowRow> windows = reader.rowsAfter<WindowRow>(0);
  const std::vector<PolicyRow> policies = reader.rowsAfter<PolicyRow>(0);
  const Quality quality = options.quality == "kl" ? Quality::Kl : Quality::Nll;
  std::vector<Group> groups;
  for (const std::vector<RunRow> &runs : alike) {
    std::vector<PolicyRow> mine;
    std::copy_if(policies.begin(), policies.end(), std::back_inserter(mine), [&](const PolicyRow &row) {
      return std::any_of(runs.begin(), runs.end(), [&](const RunRow &run) { return run.id == row.run; });
    });
    for (Group &group : byWindows(runs, curvePoints(mine, windows))) groups.push_back(std::move(group));
  }
  for (Group &group : groups) {
    std::stable_sort(group.points.begin(), group.points.end(),
                     [](const CurvePoint &a, const CurvePoint &b) { return a.relativeSize < b.relativeSize; });
    group.standings = paretoFront(group.points, windows, quality);
    if (options.within > 0) group.best = bestWithin(group.points, windows, quality, options.within);
  }
  if (groups.empty())
    throw Error(Code::Usage, fmt::format("{} has no scored window; run eval or a study into it first", options.store));
  return groups;
}

std::string interval(const Estimate &e, int digits) {
  return std::isnan(e.low) ? fmt::format("{:.{}f}", e.mean, digits)
                           : fmt::format("{:.{}f} ({:.{}f} to {:.{}f})", e.mean, digits, e.low, digits, e.high, digits);
}

std::string table(const std::vector<Group> &groups, const Options &options) {
  std::string text;
  for (const Group &group : groups) {
    const std::vector<std::int64_t> &windows = group.points.front().windows;
    text += fmt::format("{}{}\n{}\n{} windows, {} to {}\n", text.empty() ? "" : "\n", group.runs.front().title,
                        group.runs.front().protocol, windows.size(), windows.front(), windows.back());
    text += fmt::format("\n{:<6} {:>8} {:>8} {:<34} {:<30} {:>7}  policy\n", "", "size", "as MHA", "KL, nats (95 %)",
                        "ppl / exact (95 %)", "windows");
    for (std::size_t i = 0; i < group.points.size(); ++i) {
      const CurvePoint &p = group.points[i];
      text += fmt::format("{:<6} {:>8.4f} {:>8.4f} {:<34} {:<30} {:>7}  {}\n",
                          group.standings[i].front      ? "front"
                          : group.standings[i].possible ? "maybe"
                                                        : "",
                          p.relativeSize, p.relativeSizeMha, interval(p.kl, 6), interval(p.ratio, 5), p.windows.size(),
                          p.policy);
    }
    if (options.within > 0 && !group.best) text += fmt::format("\nnothing fits into {} of FP16\n", options.within);
    if (group.best) {
      text += fmt::format("\nbest within {} of FP16: {}\n", options.within, group.points[group.best->best].policy);
      for (const std::size_t tie : group.best->ties)
        text += fmt::format("  not told apart from it: {}\n", group.points[tie].policy);
    }
  }
  return text +
         fmt::format(
             "\nfront: nothing is as small and better in {0} on average, or smaller and as good. maybe: nothing that is "
             "no larger is certainly better\n(95 % interval of the difference, paired by window).\n",
             options.quality == "kl" ? "KL" : "NLL");
}

json asJson(const std::vector<Group> &groups, const Options &options) {
  json list = json::array();
  for (const Group &group : groups) {
    json points = json::array(), runs = json::array();
    for (const RunRow &run : group.runs) runs.push_back(run.id);
    for (std::size_t i = 0; i < group.points.size(); ++i) {
      const CurvePoint &p = group.points[i];
      points.push_back({{"run", p.run},
                        {"index", p.policyIndex},
                        {"policy", p.policy},
                        {"relative_size", p.relativeSize},
                        {"relative_size_mha", p.relativeSizeMha},
                        {"bits_per_element", p.bitsPerElement},
                        {"kl", estimateJson(p.kl)},
                        {"nll_difference", estimateJson(p.nllDifference)},
                        {"ppl_ratio", estimateJson(p.ratio)},
                        {"top1", p.top1},
                        {"front", group.standings[i].front},
                        {"possible", group.standings[i].possible}});
    }
    json best = nullptr;
    if (group.best) {
      json ties = json::array();
      for (const std::size_t tie : group.best->ties) ties.push_back(group.points[tie].policy);
      best = {{"policy", group.points[group.best->best].policy}, {"ties", ties}};
    }
    list.push_back({{"title", group.runs.front().title},
                    {"protocol", group.runs.front().protocol},
                    {"windows", group.points.front().windows},
                    {"runs", runs},
                    {"points", points},
                    {"best", best}});
  }
  return {{"quality", options.quality}, {"groups", list}};
}

} // namespace

void addPareto(const Command &app) {
  const auto options = std::make_shared<Options>();
  const Command command = app.add("pareto", "Which policies of a store are worth their bytes, with intervals");
  command.option("store", options->store, "F.xqs", "the .xqs file").required();
  command.option("--quality", options->quality, "kl|nll", "what is to be small").shown().oneOf({"kl", "nll"});
  command.option("--within", options->within, "SIZE", "also name the best of at most this size, as a share of FP16")
      .positive();
  command.flag("--json", options->json, "as JSON");
  command.does([options] {
    const std::vector<Group> groups = readGroups(*options);
    options->json ? printJson(asJson(groups, *options)) : print(table(groups, *options));
  });
}

} // namespace xqs::cli
