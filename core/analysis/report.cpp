// SPDX-License-Identifier: Apache-2.0
#include "report.h"

#include "cache/work.h"
#include "error.h"
#include "report_charts.h"
#include "report_profile.h"
#include "report_style.h"
#include "run_shape.h"
#include "svg.h"

#include <fmt/format.h>

#include <algorithm>

namespace xqs {
namespace {

using svg::escape;
using svg::number;

template <class Row> std::vector<Row> ofRun(const std::vector<Row> &rows, RowId run) {
  std::vector<Row> result;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(result), [run](const Row &row) { return row.run == run; });
  return result;
}

std::string bytes(std::int64_t count) {
  if (count == 0) return "<span class='muted'>0</span>";
  static constexpr const char *kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(count);
  int unit = 0;
  while (value >= 1024 && unit < 4) value /= 1024, ++unit;
  return fmt::format("<span title='{} bytes'>{} {}</span>", count, unit == 0 ? std::to_string(count) : number(value, 4),
                     kUnits[unit]);
}

/// "1.234 (1.20 to 1.27)"; the interval only where there is one.
std::string withInterval(const Estimate &e, int digits) {
  if (std::isnan(e.low)) return number(e.mean, digits);
  return fmt::format("{} <span class='muted'>({} to {})</span>", number(e.mean, digits), number(e.low, digits),
                     number(e.high, digits));
}

struct Status {
  std::string name, text;
};

Status statusOf(const ReportRows &rows, const RunRow &run) {
  for (auto end = rows.ends.rbegin(); end != rows.ends.rend(); ++end) // a run that was continued has several
    if (end->run == run.id)
      return {end->status, fmt::format("{} after {} s{}", end->status, number(end->seconds, 3),
                                       end->message.empty() ? "" : ": " + end->message)};
  const bool crashed = std::find(rows.crashed.begin(), rows.crashed.end(), run.id) != rows.crashed.end();
  return crashed ? Status{"crashed", "crashed: no end was recorded; finished windows are kept"}
                 : Status{"running", "in progress"};
}

std::string heading(const ReportRows &rows, const RunRow &run) {
  static constexpr std::pair<const char *, const char *> kKinds[] = {
      {"eval", "closed loop: errors add up from layer to layer"},
      {"layers", "open loop: every layer gets the exact input"},
      {"preview", "preview"},
      {"generate", "text drawn token by token"},
      {"profile", "decoding, timed, traced and counted"}};
  std::string kind = run.kind;
  for (const auto &[name, meaning] : kKinds)
    if (run.kind == name) kind = meaning;
  const Status status = statusOf(rows, run);
  const std::string title = run.title.empty() ? run.model : run.title;
  return fmt::format(
      "<h2 id='run{0}'>Run {0}: {1} <span class='status {2}'>{2}</span></h2><p class='muted'>{3}; {4}; {5}</p><p>{6}</p>",
      run.id, escape(title), escape(status.name), escape(run.startedUtc), escape(kind), escape(status.text),
      escape(run.protocol));
}

/// The published curves that belong behind this run: table 4, the first model of its kind, WikiText-2.
std::vector<PublishedRow> behind(const std::vector<PublishedRow> &published, const RunRow &run) {
  const std::string kind = run.kvHeads < run.heads ? "gqa" : "mha";
  std::vector<PublishedRow> rows;
  for (const PublishedRow &row : published)
    if (row.table == "xquant-table-4" && row.kind == kind && row.dataset == "wikitext2" &&
        (rows.empty() || rows.front().model == row.model))
      rows.push_back(row);
  return rows;
}

std::string curveSection(const std::vector<CurvePoint> &points, const std::vector<PublishedRow> &published) {
  const std::string chart = curveChart(points, published);
  if (chart.empty()) return "";
  std::size_t most = 0;
  for (const CurvePoint &p : points) most = std::max(most, p.windows.size());
  const std::string bars =
      most < 2 ? "One window: no interval." : "Bars: 95 % interval of the paired difference over windows.";
  const std::string source = published.empty()
                                 ? ""
                                 : fmt::format(" Broad faint lines: {} on WikiText-2 as printed in {}; another model, "
                                               "for orientation.",
                                               published.front().model, published.front().source);
  return fmt::format("<h3>Cache size against quality</h3><figure>{}<figcaption>Lower left is better; a marker holds the "
                     "bits of a code. {} An arrow: beyond the "
                     "frame, with its ratio.{}</figcaption></figure>",
                     chart, bars, escape(source));
}

std::string qualityTable(const std::vector<PolicyRow> &policies, const std::vector<CurvePoint> &points,
                         const std::vector<WindowRow> &windows) {
  std::vector<double> exact;
  for (const WindowRow &row : windows)
    if (row.policy < 0) exact.push_back(row.meanNll);
  if (exact.empty()) return "";
  std::string out = "<h3>Size and quality</h3><div class='scroll'><table><thead><tr><th class='name'>policy</th><th>bits "
                    "an<br>element</th>"
                    "<th>size of<br>FP16 KV</th><th>as if<br>MHA</th><th>ppl</th><th>ppl / exact<br>(95 %)</th>"
                    "<th>mean KL, nats<br>(95 %)</th><th>top-1</th><th>windows</th></tr></thead><tbody>";
  out += fmt::format("<tr><td class='name'>exact model</td><td colspan='3'></td><td>{}</td><td>1</td><td>0</td><td>100 "
                     "%</td><td>{}</td></tr>",
                     number(std::exp(meanOf(exact).mean), 5), exact.size());
  for (std::size_t i = 0; i < policies.size(); ++i) {
    const CurvePoint &p = points[i];
    out += fmt::format("<tr>{}<td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                       policyCell(p.policy), number(p.bitsPerElement, 4), number(p.relativeSize, 3),
                       number(p.relativeSizeMha, 3), number(p.ppl, 5), withInterval(p.ratio, 4), withInterval(p.kl, 3),
                       std::isnan(p.top1) ? "—" : number(100 * p.top1, 3) + " %", p.windows.size());
  }
  return out + "</tbody></table></div><p class='muted'>Ratios and intervals are over the windows that were scored under "
               "both the policy and "
               "the exact model, paired by window.</p>";
}

/// Multiply-adds a token; a dash where this program no longer knows the policy.
std::string workCells(const RunRow &run, const PolicyRow &policy) {
  try {
    const CacheWork work = cacheWork(PolicySpec::parse(policy.policy), shapeOf(run));
    return fmt::format("<td>{}</td><td>{}</td>", number(static_cast<double>(work.storeMacs) / 1e6, 4),
                       number(static_cast<double>(work.rebuildMacs) / 1e6, 4));
  } catch (const Error &) {
    return "<td>—</td><td>—</td>";
  }
}

std::string ledger(const RunRow &run, const std::vector<PolicyRow> &policies) {
  if (policies.empty()) return "";
  struct Column {
    const char *title;
    std::int64_t PolicyRow::*bytes;
  };
  static constexpr Column kColumns[] = {{"codes", &PolicyRow::codes},
                                        {"scales, zeros", &PolicyRow::scales},
                                        {"outliers", &PolicyRow::outliers},
                                        {"residual", &PolicyRow::residual},
                                        {"format bytes", &PolicyRow::formatBytes},
                                        {"allocated", &PolicyRow::allocatedBytes},
                                        {"accumulator", &PolicyRow::accumulator},
                                        {"scratch", &PolicyRow::scratch}};
  std::string out = "<h3>Ledger: memory of one window, work of one token</h3><div class='scroll'><table><thead><tr><th "
                    "class='name'>policy</th>";
  for (const Column &column : kColumns) out += fmt::format("<th>{}</th>", column.title);
  out += "<th>to store, M</th><th>to rebuild, M</th></tr></thead><tbody>";
  for (const PolicyRow &p : policies) {
    out += "<tr>" + policyCell(p.policy);
    for (const Column &column : kColumns) out += "<td>" + bytes(p.*column.bytes) + "</td>";
    out += workCells(run, p) + "</tr>";
  }
  return out +
         "</tbody></table></div><p class='muted'>Format bytes are the sum of the four parts, what the method's arithmetic "
         "says; "
         "allocated is what was taken for them. Accumulator and scratch are working memory and not part of the size. "
         "Million "
         "multiply-adds, all layers: to store a new token, once (projections and maps of conditioning; FP16 KV pays for K "
         "and V), and to rebuild K and V of a cached token, each time they are read.</p>";
}

std::string facts(const RunRow &run) {
  std::string out = "<h3>What it takes to repeat it</h3><table class='facts'><tbody>";
  const auto fact = [&](const char *name, const std::string &value) {
    if (!value.empty()) out += fmt::format("<tr><th>{}</th><td>{}</td></tr>", name, escape(value));
  };
  fact("model", run.model), fact("SHA-256 of the model", run.modelHash);
  fact("shape", fmt::format("{}: {} layers, d = {}, {} heads, {} KV heads, dh = {}, vocabulary {}, FFN {}", run.architecture,
                            run.layers, run.d, run.heads, run.kvHeads, run.dh, run.vocab, run.ffn));
  fact("weights", run.weightTypes), fact("text", run.text), fact("SHA-256 of the text", run.textHash);
  if (run.kind != "profile") {
    fact("tokens", std::to_string(run.textTokens)), fact("SHA-256 of the tokens", run.tokensHash);
    fact("windows", fmt::format("{} of {} tokens, from window {}", run.windows, run.window, run.firstWindow));
  }
  fact("cache state", run.state), fact("backend", run.backend), fact("device", run.device), fact("machine", run.machine);
  if (!run.calibrationText.empty())
    fact("calibration", fmt::format("{}, {} windows, SHA-256 of the tokens {}", run.calibrationText, run.calibrationWindows,
                                    run.calibrationTokensHash));
  fact("study", run.study), fact("study key", run.studyKey);
  fact("threads", std::to_string(run.threads)), fact("seed", std::to_string(run.seed)), fact("XQScope", run.version);
  fact("libraries", run.libraries), fact("run", run.uuid);
  out += "</tbody></table>";
  if (!run.spec.empty())
    out += fmt::format("<details><summary>Experiment</summary><pre>{}</pre></details>", escape(run.spec));
  return out;
}

std::string problems(const std::vector<ProblemRow> &rows, const std::vector<PolicyRow> &policies) {
  if (rows.empty()) return "";
  const auto place = [](std::int64_t value) { return value < 0 ? std::string("—") : std::to_string(value); };
  std::string out = "<h3>Problems in the data</h3><div class='scroll'><table><thead><tr><th class='name'>problem</th><th "
                    "class='name'>policy</th>"
                    "<th>window</th><th>layer</th><th class='name'>code</th></tr></thead><tbody>";
  for (const ProblemRow &row : rows) {
    std::string policy = row.policy < 0 ? "exact model" : "—"; // one that does not fit has no row of its own
    for (const PolicyRow &p : policies)
      if (p.index == row.policy) policy = p.policy;
    out += fmt::format("<tr><td class='wrap warning'>{}</td><td class='name'><code>{}</code></td><td>{}</td><td>{}</td><td "
                       "class='name'>{}</td></tr>",
                       escape(row.text), escape(policy), place(row.window), place(row.layer), escape(row.code));
  }
  return out + "</tbody></table></div>";
}

std::string log(const std::vector<LogRow> &rows) {
  if (rows.empty()) return "";
  std::string out = fmt::format("<details><summary>Log, {} lines</summary><div class='scroll'><table><tbody>", rows.size());
  for (const LogRow &row : rows)
    out += fmt::format("<tr><td class='name muted'>{}</td><td class='name {}'>{}</td><td class='wrap'>{}</td></tr>",
                       escape(row.utc), escape(row.level), escape(row.level), escape(row.text));
  return out + "</tbody></table></div></details>";
}

/// What instruments measured: all of a profile, the traffic of a generation.
std::string instrumentSection(const ReportRows &rows, const RunRow &run, const std::vector<PolicyRow> &policies) {
  const ProfileRows own{run,
                        policies,
                        ofRun(rows.steps, run.id),
                        ofRun(rows.traffic, run.id),
                        ofRun(rows.instruments, run.id),
                        ofRun(rows.peaks, run.id)};
  if (run.kind != "generate") return profileSection(own);
  if (own.instruments.empty()) return "";
  const auto sampled = rows.sampled.find(run.id);
  return "<h3>Memory traffic</h3><p>" +
         (sampled != rows.sampled.end() ? escape("While tokens were drawn, " + sampled->second.text()) : "Not measured") +
         ".</p>" + instrumentsTable(own);
}

std::string section(const ReportRows &rows, const RunRow &run, const std::vector<PublishedRow> &published) {
  const auto policies = ofRun(rows.policies, run.id);
  const auto windows = ofRun(rows.windows, run.id);
  const auto points = curvePoints(policies, windows);
  std::string out = "<section>" + heading(rows, run) + generationTable(policies, ofRun(rows.generated, run.id)) +
                    instrumentSection(rows, run, policies) + curveSection(points, behind(published, run)) +
                    qualityTable(policies, points, windows) + statisticsTable(policies, ofRun(rows.statistics, run.id)) +
                    noiseTable(policies, ofRun(rows.noise, run.id)) + ledger(run, policies) +
                    workTable(run, policies, ofRun(rows.operations, run.id));
  if (const std::string maps = similarityMaps(ofRun(rows.similarities, run.id)); !maps.empty())
    out += "<h3>How alike the layers are</h3>" + maps;
  for (const auto &[loop, title] : {std::pair("open", "Error by layer, open loop: every layer gets the exact input"),
                                    std::pair("closed", "Error by layer, closed loop: errors add up")})
    if (const std::string charts = layerErrorCharts(policies, ofRun(rows.layerErrors, run.id), loop); !charts.empty())
      out += fmt::format("<h3>{}</h3>{}", title, charts);
  return out + problems(ofRun(rows.problems, run.id), policies) + facts(run) + repeatCommands(run) +
         dataTable(policies, windows) + log(ofRun(rows.logs, run.id)) + "</section>";
}

} // namespace

ReportRows readReportRows(RunReader &reader) {
  ReportRows rows;
  rows.file = reader.file().filename().string();
  rows.runs = reader.rowsAfter<RunRow>(0), rows.ends = reader.rowsAfter<RunEndRow>(0);
  rows.policies = reader.rowsAfter<PolicyRow>(0), rows.windows = reader.rowsAfter<WindowRow>(0);
  rows.layerErrors = reader.rowsAfter<LayerErrorRow>(0), rows.similarities = reader.rowsAfter<SimilarityRow>(0);
  rows.problems = reader.rowsAfter<ProblemRow>(0), rows.logs = reader.rowsAfter<LogRow>(0);
  rows.noise = reader.rowsAfter<NoiseRow>(0), rows.operations = reader.rowsAfter<OperationRow>(0);
  rows.generated = reader.rowsAfter<GeneratedRow>(0);
  rows.steps = reader.rowsAfter<StepRow>(0), rows.traffic = reader.rowsAfter<TrafficRow>(0);
  rows.instruments = reader.rowsAfter<InstrumentRow>(0), rows.peaks = reader.rowsAfter<PeakRow>(0);
  for (const ThroughputRow &row : reader.rowsAfter<ThroughputRow>(0))
    if (row.policy < 0) rows.sampled[row.run].add(row);
  rows.statistics = readStatistics(reader);
  for (const RunRow &run : rows.runs)
    if (reader.crashed(run.id)) rows.crashed.push_back(run.id);
  return rows;
}

std::string htmlReport(const ReportRows &rows, const std::vector<PublishedRow> &published) {
  std::string out =
      fmt::format("<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
                  "content='width=device-width, initial-scale=1'><title>{0} – XQScope</title><style>{1}</style></head>"
                  "<body><h1>{0}</h1><p class='muted'>XQScope report: what compressing the KV cache does to the model."
                  "</p>",
                  escape(rows.file), kReportStyle);
  if (rows.runs.empty()) out += "<p>This store holds no run.</p>";
  if (rows.runs.size() > 1) {
    out += "<ul>";
    for (const RunRow &run : rows.runs)
      out += fmt::format("<li><a href='#run{0}'>Run {0}: {1}</a></li>", run.id,
                         escape(run.title.empty() ? run.model : run.title));
    out += "</ul>";
  }
  for (const RunRow &run : rows.runs) out += section(rows, run, published);
  return out + "</body></html>\n";
}

} // namespace xqs
