// SPDX-License-Identifier: Apache-2.0
#include "report_profile.h"

#include "report_tables.h"
#include "statistics.h"
#include "svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace xqs {
namespace {

using svg::escape;
using svg::number;

std::string cell(const std::string &text) { return "<td>" + text + "</td>"; }
std::string mega(double value) { return cell(number(1e-6 * value, 4)); }
std::string milli(double seconds) { return cell(number(1e3 * seconds, 4)); }
std::string percent(double share) { return cell(std::isnan(share) ? "—" : number(100 * share, 3) + " %"); }

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

std::string pointRow(const TradePoint &p) {
  return "<tr>" + policyCell(p.policy) +
         cell(fmt::format("{} <span class='muted'>({} to {})</span>", number(1e3 * p.step.seconds, 4),
                          number(1e3 * p.step.lowSeconds, 4), number(1e3 * p.step.highSeconds, 4))) +
         cell(number(p.stepRatio, 3)) + mega(p.cacheBytes) + mega(p.savedBytes) + mega(p.rebuildFlops) +
         milli(p.cache.seconds) + milli(p.extraSeconds) + percent(p.cacheShare) + mega(p.cache.countedBytes) +
         mega(p.cache.measuredBytes()) + cell(number(p.cache.ratio(), 3)) + mega(p.savedMeasured) +
         cell(number(1e-9 * p.countedRate(), 3)) + cell(number(1e-9 * p.measuredRate(), 3)) + "</tr>";
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
  static const std::vector<std::string> kHeads = {"policy",
                                                  "ms a step<br>(quartiles)",
                                                  "× FP16",
                                                  "cache, MB<br>counted",
                                                  "saved, MB<br>counted",
                                                  "work beyond<br>FP16, MFLOP",
                                                  "cache and<br>attention, ms",
                                                  "beyond<br>FP16, ms",
                                                  "of the<br>step",
                                                  "their bytes,<br>MB counted",
                                                  "MB<br>measured",
                                                  "measured /<br>counted",
                                                  "saved, MB<br>measured",
                                                  "step, GB/s<br>counted",
                                                  "GB/s<br>measured"};
  std::string out;
  for (auto first = points.begin(); first != points.end();) {
    const auto end = std::find_if(first, points.end(), [&](const TradePoint &p) { return !sameSetting(p, *first); });
    std::string body;
    for (auto p = first; p != end; ++p) body += pointRow(*p);
    out += fmt::format("<p><b>{}</b></p>{}", setting(*first), table(kHeads, body));
    first = end;
  }
  return out + "<p class='muted'>Cache: format bytes of all sequences, what a step has to read of them at least. Cache and "
               "attention: the parts of a traced step that write, rebuild and read the cache; their counted bytes are all "
               "that their operations read and write, from shapes, so that rows rebuilt in memory count too; measured bytes "
               "are those between memory and chip, so that what a cache of the chip serves does not count. A dash: not "
               "measured.</p>";
}

std::string partsTable(const std::vector<TradePoint> &points, const std::vector<TrafficRow> &traffic) {
  const std::vector<TradePoint> chosen = longest(points);
  std::set<std::string> names;
  for (const TradePoint &p : chosen)
    for (const auto &[part, sum] : trafficByPart(traffic, p.key)) names.insert(part);
  if (names.empty()) return "";
  std::vector<std::string> heads = {"policy"};
  for (const std::string &name : names) heads.push_back(escape(name) + "<br>ms; MB counted; measured");
  std::string body;
  for (const TradePoint &p : chosen) {
    auto parts = trafficByPart(traffic, p.key);
    body += "<tr>" + policyCell(p.policy);
    for (const std::string &name : names)
      body +=
          parts.contains(name)
              ? cell(fmt::format("{}; {}; {}", number(1e3 * parts[name].seconds, 3),
                                 number(1e-6 * parts[name].countedBytes, 3), number(1e-6 * parts[name].measuredBytes(), 3)))
              : cell("—");
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
        cell(test) + percent(cost(row.instrument)) + cell(std::to_string(row.dropped)) + "</tr>";
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
    body +=
        fmt::format("<tr><td class='name'>{}</td>{}<td class='wrap'>{}</td></tr>", escape(peak.name),
                    cell(number(1e-9 * peak.value, 4) + (peak.name == "matmul" ? " GFLOP/s" : " GB/s")), escape(peak.text));
  return "<h4>Limits of this machine, measured by time in the same run</h4>" + table({"limit", "", "how"}, body);
}

std::string profileSection(const ProfileRows &rows) {
  const std::vector<TradePoint> points = tradePoints(rows.policies, rows.steps, rows.traffic);
  if (points.empty() && rows.instruments.empty()) return "";
  std::string out = "<h3>Bandwidth saved against rebuild cost</h3>";
  if (points.empty()) return out + "<p>No point was measured.</p>" + instrumentsTable(rows) + peaksTable(rows.peaks);
  return out + tradeChart(points) + tradeTable(points) + agreement(rows) + partsTable(points, rows.traffic) +
         layersTable(points, rows.traffic) + instrumentsTable(rows) + peaksTable(rows.peaks) + csv(points);
}

} // namespace xqs
