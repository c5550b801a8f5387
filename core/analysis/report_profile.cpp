// SPDX-License-Identifier: Apache-2.0
#include "report_profile.h"

#include "report_tables.h"
#include "statistics.h"
#include "svg.h"
#include "verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

namespace xqs {
namespace {

using svg::escape;
using svg::number;

constexpr const char *kDash = "—"; ///< svg::number of what was not measured

std::string cell(const std::string &text) { return "<td>" + text + "</td>"; }
std::string mega(double value) { return number(1e-6 * value, 4); }
std::string milli(double seconds) { return number(1e3 * seconds, 4); }
std::string percent(double share) { return std::isnan(share) ? kDash : number(100 * share, 3) + " %"; }

std::string table(const std::vector<std::string> &heads, const std::string &body) {
  std::string out = "<div class='scroll'><table><thead><tr>";
  for (const std::string &head : heads)
    out += fmt::format("<th{}>{}</th>", &head == &heads.front() ? " class='name'" : "", head);
  return out + "</tr></thead><tbody>" + body + "</tbody></table></div>";
}

bool sameSetting(const TradePoint &a, const TradePoint &b) {
  return a.key.context == b.key.context && a.key.batch == b.key.batch;
}

/// Those of the longest context; of several batches, the smallest.
std::vector<TradePoint> longest(const std::vector<TradePoint> &points) {
  std::int64_t context = 0, batch = 0;
  for (const TradePoint &p : points)
    if (p.key.context > context || (p.key.context == context && p.key.batch < batch))
      context = p.key.context, batch = p.key.batch;
  std::vector<TradePoint> chosen;
  for (const TradePoint &p : points)
    if (p.key.context == context && p.key.batch == batch && !std::isnan(p.cacheShare)) chosen.push_back(p);
  return chosen;
}

std::string setting(const TradePoint &p) { return fmt::format("{} tokens, batch {}", p.key.context, p.key.batch); }

struct Column {
  const char *head;
  std::string (*text)(const TradePoint &);
};
constexpr Column kColumns[] = {
    {"ms a step<br>(quartiles)",
     [](const TradePoint &p) {
       return fmt::format("{} <span class='muted'>({} to {})</span>", milli(p.step.seconds), milli(p.step.lowSeconds),
                          milli(p.step.highSeconds));
     }},
    {"× FP16", [](const TradePoint &p) { return number(p.stepRatio, 3); }},
    {"cache, MB<br>counted", [](const TradePoint &p) { return mega(p.cacheBytes); }},
    {"saved, MB<br>counted", [](const TradePoint &p) { return mega(p.savedBytes); }},
    {"work beyond<br>FP16, MFLOP", [](const TradePoint &p) { return mega(p.rebuildFlops); }},
    {"cache and<br>attention, ms", [](const TradePoint &p) { return milli(p.cache.seconds); }},
    {"beyond<br>FP16, ms", [](const TradePoint &p) { return milli(p.extraSeconds); }},
    {"of the<br>traced step", [](const TradePoint &p) { return percent(p.cacheShare); }},
    {"their bytes,<br>MB counted", [](const TradePoint &p) { return mega(p.cache.countedBytes); }},
    {"MB<br>measured", [](const TradePoint &p) { return mega(p.cache.measuredBytes()); }},
    {"measured /<br>counted", [](const TradePoint &p) { return number(p.cache.ratio(), 3); }},
    {"saved, MB<br>measured", [](const TradePoint &p) { return mega(p.savedMeasured); }},
    {"step, GB/s<br>counted", [](const TradePoint &p) { return number(1e-9 * p.countedRate(), 3); }},
    {"GB/s<br>measured", [](const TradePoint &p) { return number(1e-9 * p.measuredRate(), 3); }}};

/// The columns that have a figure at some point.
std::vector<Column> columnsOf(const std::vector<TradePoint> &points) {
  std::vector<Column> columns;
  for (const Column &column : kColumns)
    if (std::ranges::any_of(points, [&](const TradePoint &p) { return column.text(p) != kDash; })) columns.push_back(column);
  return columns;
}

/// The largest difference, of all points, between the sum over layers and the whole step.
std::string agreement(const ProfileRows &rows) {
  double worst = std::nan("");
  for (const StepRow &step : rows.steps)
    if (const double difference = std::abs(layersBesideStep(step, rows.traffic)); !std::isnan(difference))
      worst = std::isnan(worst) ? difference : std::max(worst, difference);
  if (std::isnan(worst)) return "";
  return fmt::format("<p>Measured bytes summed over layers differ from those of whole steps, which were measured by "
                     "themselves, by at most {} %.</p>",
                     number(100 * worst, 2));
}

std::string csv(const std::vector<TradePoint> &points) {
  const auto figure = [](double x) { return std::isfinite(x) ? fmt::format("{:.7g}", x) : std::string(); };
  std::string text = "policy,context,batch,step_seconds,cache_bytes_counted,step_bytes_counted,step_flops_counted,"
                     "step_bytes_read_measured,step_bytes_written_measured,cache_parts_seconds,cache_parts_bytes_counted,"
                     "cache_parts_bytes_measured,saved_bytes_counted,rebuild_flops_counted,extra_seconds\n";
  for (const TradePoint &p : points) {
    text += fmt::format("\"{}\",{},{}", p.policy, p.key.context, p.key.batch);
    for (const double value :
         {p.step.seconds, p.cacheBytes, p.step.countedBytes, p.step.countedFlops, p.step.measuredRead, p.step.measuredWrite,
          p.cache.seconds, p.cache.countedBytes, p.cache.measuredBytes(), p.savedBytes, p.rebuildFlops, p.extraSeconds})
      text += "," + figure(value);
    text += "\n";
  }
  return fmt::format("<details><summary>Data: {} points as CSV</summary><pre>{}</pre></details>", points.size(),
                     escape(text));
}

} // namespace

std::string tradeTable(const std::vector<TradePoint> &points) {
  const std::vector<Column> columns = columnsOf(points);
  std::vector<std::string> heads = {"policy"};
  for (const Column &column : columns) heads.emplace_back(column.head);
  std::string out;
  for (auto first = points.begin(); first != points.end();) {
    const auto end = std::find_if(first, points.end(), [&](const TradePoint &p) { return !sameSetting(p, *first); });
    std::string body;
    for (auto p = first; p != end; ++p) {
      body += "<tr>" + policyCell(p->policy);
      for (const Column &column : columns) body += cell(column.text(*p));
      body += "</tr>";
    }
    out += fmt::format("<p><b>{}</b></p>{}", setting(*first), table(heads, body));
    first = end;
  }
  return out + "<p class='muted'>Cache: format bytes of all sequences, what a step has to read of them at least. Cache and "
               "attention: the parts of a traced step that write, rebuild and read the cache; their counted bytes are all "
               "that their operations read and write, from shapes, so that rows rebuilt in memory count too; measured bytes "
               "are those between memory and chip, so that what a cache of the chip serves does not count. A dash: not "
               "measured.</p>";
}

/// A part's time, and under it what it moved.
std::string partCell(const TrafficSum &part, bool measured) {
  std::string bytes = mega(part.countedBytes);
  if (measured) bytes += " | " + mega(part.measuredBytes());
  return cell(fmt::format("{}<br><span class='muted'>{}</span>", milli(part.seconds), bytes));
}

std::string partsTable(const std::vector<TradePoint> &points, const std::vector<TrafficRow> &traffic) {
  const std::vector<TradePoint> chosen = longest(points);
  std::vector<std::string> names;
  bool measured = false;
  for (const TrafficRow &row : traffic)
    for (const TradePoint &p : chosen) {
      if (row.part.empty() || profileKey(row) != p.key) continue;
      if (std::ranges::find(names, row.part) == names.end()) names.push_back(row.part);
      measured = measured || !std::isnan(row.measuredRead);
    }
  if (names.empty()) return "";
  std::ranges::sort(names, {}, partOrder);
  std::vector<std::string> heads = {"policy"};
  for (const std::string &name : names)
    heads.push_back(fmt::format("{}<br>ms; MB counted{}", escape(name), measured ? " | measured" : ""));
  std::string body;
  for (const TradePoint &p : chosen) {
    auto parts = trafficByPart(traffic, p.key);
    body += "<tr>" + policyCell(p.policy);
    for (const std::string &name : names) body += parts.contains(name) ? partCell(parts[name], measured) : cell(kDash);
    body += "</tr>";
  }
  return fmt::format("<h4>Parts of a step, {}</h4>", setting(chosen.front())) + table(heads, body);
}

std::string layersTable(const std::vector<TradePoint> &points, const std::vector<TrafficRow> &traffic) {
  const std::vector<TradePoint> chosen = longest(points);
  std::set<std::int64_t> layers;
  std::vector<std::map<std::int64_t, TrafficSum>> sums;
  std::vector<std::string> heads = {"layer"};
  for (const TradePoint &p : chosen) {
    heads.push_back("<code>" + escape(p.policy) + "</code><br>MB counted; measured");
    sums.push_back(trafficByLayer(traffic, p.key));
    for (const auto &[layer, sum] : sums.back()) layers.insert(layer);
  }
  if (layers.empty()) return "";
  std::string body;
  for (const std::int64_t layer : layers) {
    body += fmt::format("<tr><td class='name'>{}</td>", layer < 0 ? "outside" : std::to_string(layer));
    for (auto &policy : sums)
      body += cell(number(1e-6 * policy[layer].countedBytes, 4) + "; " + number(1e-6 * policy[layer].measuredBytes(), 4));
    body += "</tr>";
  }
  return fmt::format("<details><summary>Bytes by layer, {}</summary>{}</details>", setting(chosen.front()),
                     table(heads, body));
}

std::string instrumentsTable(const ProfileRows &rows) {
  if (rows.instruments.empty()) return "";
  const auto cost = [&](const std::string &instrument) {
    std::vector<double> costs;
    for (const StepRow &step : rows.steps) {
      const double value = instrument == "timeline"   ? step.timelineCost
                           : instrument == "counters" ? step.countersCost
                                                      : step.samplingCost;
      if (!std::isnan(value)) costs.push_back(value);
    }
    return quantileOf(costs, 0.5);
  };
  std::string body;
  for (const InstrumentRow &row : lastInstruments(rows.instruments)) {
    const std::string test =
        std::isnan(row.selfTestExpected)
            ? "—"
            : fmt::format("{} of {} MB", number(1e-6 * row.selfTestRead, 4), number(1e-6 * row.selfTestExpected, 4));
    body +=
        fmt::format("<tr><td class='name'>{}</td><td class='name'>{}</td><td class='wrap'>{}</td><td class='wrap'>{}</td>",
                    escape(row.instrument), escape(row.state), escape(row.sentence), escape(row.source)) +
        cell(test) + cell(percent(cost(row.instrument))) + cell(std::to_string(row.dropped)) + "</tr>";
  }
  return "<h4>Instruments</h4>" +
         table({"instrument", "state", "what it says", "source", "self test,<br>read back", "cost of<br>a step", "dropped"},
               body) +
         "<p class='muted'>Cost: median over points of how much longer a step took with the instrument on, from steps with "
         "it "
         "and without it in turns. A dash: not measured.</p>";
}

std::string peaksTable(const std::vector<PeakRow> &peaks) {
  if (peaks.empty()) return "";
  std::string body;
  for (const PeakRow &peak : peaks)
    body += fmt::format("<tr><td class='name'>{}</td>{}<td class='wrap'>{}</td></tr>", escape(peak.name),
                        cell(number(1e-9 * peak.value, 4) + " " + peakUnit(peak)), escape(peak.text));
  return "<h4>Limits of this machine, measured by time in the same run</h4>" + table({"limit", "", "how"}, body);
}

/// Who wins what on this machine, at the longest context.
std::string verdictList(const ProfileRows &rows) {
  std::optional<Hardware> machine = measuredHardware(rows.run, rows.peaks);
  if (!machine || rows.steps.empty()) return "";
  static const std::vector<WindowRow> kNoWindows;
  const ModelSize model = sizeOf(rows.run);
  std::vector<std::string> policies;
  for (const PolicyRow &row : rows.policies) policies.push_back(row.policy);
  Evidence evidence;
  addSteps(evidence, {rows.run, rows.policies, kNoWindows, rows.steps, rows.traffic, rows.peaks}, model);
  const StepRow &last = *std::ranges::max_element(rows.steps, {}, &StepRow::context);
  const Judge judge(std::move(*machine), model, fittingPolicies(policies, model), std::move(evidence));
  std::string items;
  for (const std::string &sentence : judge.at(last.context, last.batch).sentences)
    items += fmt::format("<li>{}</li>", escape(sentence));
  return fmt::format("<h4>Verdict at {} tokens, batch {}</h4><ul>{}</ul>", last.context, last.batch, items);
}

std::string profileSection(const ProfileRows &rows) {
  const std::vector<TradePoint> points = tradePoints(rows.policies, rows.steps, rows.traffic);
  if (points.empty() && rows.instruments.empty()) return "";
  std::string out = "<h3>Bandwidth saved against rebuild cost</h3>";
  if (points.empty()) return out + "<p>No point was measured.</p>" + instrumentsTable(rows) + peaksTable(rows.peaks);
  return out + tradeChart(points) + verdictList(rows) + tradeTable(points) + agreement(rows) +
         partsTable(points, rows.traffic) + layersTable(points, rows.traffic) + instrumentsTable(rows) +
         peaksTable(rows.peaks) + csv(points);
}

} // namespace xqs
