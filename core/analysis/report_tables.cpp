// SPDX-License-Identifier: Apache-2.0
#include "report_tables.h"

#include "noise.h"
#include "svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace xqs {
namespace {

using svg::escape;
using svg::number;

/// Rows of <thead> and <tbody> in a box that scrolls.
std::string table(const std::vector<std::string> &heads, const std::string &body) {
  std::string out = "<div class='scroll'><table><thead><tr><th class='name'>policy</th>";
  for (const std::string &head : heads) out += "<th>" + head + "</th>";
  return out + "</tr></thead><tbody>" + body + "</tbody></table></div>";
}

std::string cell(const std::string &text) { return "<td>" + text + "</td>"; }

std::string withError(const WithError &e, int digits) {
  return fmt::format("<td>{} <span class='muted'>± {}</span></td>", number(e.value, digits), number(e.error, 2));
}

double percentile(const Distribution &d, double percent) {
  const auto place = std::find(d.kPercents.begin(), d.kPercents.end(), percent);
  return d.percentiles[static_cast<std::size_t>(place - d.kPercents.begin())];
}

void appendFloats(std::vector<float> &values, const Blob &blob) {
  const std::size_t before = values.size();
  values.resize(before + blob.size() / sizeof(float));
  std::memcpy(values.data() + before, blob.data(), (values.size() - before) * sizeof(float));
}

/// Calls `use(row)` for the positions of one run.
template <class Use> void forPositions(RunReader &reader, RowId run, Use use) {
  constexpr std::int64_t kAtOnce = 500;
  for (RowId last = 0;;) {
    const std::vector<PositionRow> rows = reader.rowsAfter<PositionRow>(last, kAtOnce);
    if (rows.empty()) return;
    last = rows.back().id;
    for (const PositionRow &row : rows)
      if (row.run == run) use(row);
  }
}

struct Positions {
  std::vector<float> exact, nll, kl;
  std::vector<std::uint8_t> sameTop;
};

} // namespace

std::vector<PolicyStatistics> readStatistics(RunReader &reader) {
  std::vector<PolicyStatistics> all;
  for (const RunRow &run : reader.rowsAfter<RunRow>(0)) {
    std::map<std::int64_t, Blob> exact; // by window
    forPositions(reader, run.id, [&](const PositionRow &row) {
      if (row.policy < 0) exact.emplace(row.window, row.nll);
    });
    if (exact.empty()) continue;
    std::map<std::int64_t, Positions> policies;
    forPositions(reader, run.id, [&](const PositionRow &row) {
      const auto pair = exact.find(row.window);
      const std::size_t count = row.nll.size() / sizeof(float);
      if (row.policy < 0 || pair == exact.end() || pair->second.size() != row.nll.size() ||
          row.kl.size() != row.nll.size() || row.sameTop.size() != count)
        return;
      Positions &p = policies[row.policy];
      appendFloats(p.exact, pair->second), appendFloats(p.nll, row.nll), appendFloats(p.kl, row.kl);
      p.sameTop.insert(p.sameTop.end(), row.sameTop.begin(), row.sameTop.end());
    });
    for (const auto &[policy, p] : policies)
      all.push_back({run.id, policy, tokenStatistics({p.exact, p.nll, p.kl, p.sameTop})});
  }
  return all;
}

std::string policyCell(const std::string &policy) {
  std::string text;
  for (const char c : escape(policy)) {
    text += c;
    if (c == ':' || c == ',') text += "<wbr>";
  }
  return "<td class='name'><code>" + text + "</code></td>";
}

std::string statisticsTable(const std::vector<PolicyRow> &policies, const std::vector<PolicyStatistics> &statistics) {
  std::string body;
  for (const PolicyRow &policy : policies)
    for (const PolicyStatistics &s : statistics) {
      if (s.policy != policy.index || !s.tokens.enough) continue;
      const TokenStatistics &t = s.tokens;
      body += "<tr>" + policyCell(policy.policy) + withError(t.logRatio, 3) + withError(t.kl, 3);
      for (const double percent : {50.0, 95.0, 99.0, 99.9}) body += cell(number(percentile(t.klDistribution, percent), 3));
      body += cell(number(t.klDistribution.max, 3)) + withError(t.sameTopPercent, 4) + withError(t.deltaPercent, 3) +
              withError(t.deltaRmsPercent, 3) + cell(std::to_string(t.count)) + "</tr>";
    }
  if (body.empty()) return "";
  return "<h3>KL statistics</h3>" +
         table({"ln(ppl / exact)", "mean KL, nats", "median", "95 %", "99 %", "99.9 %", "max", "same top, %", "mean Δp, %",
                "RMS Δp, %", "positions"},
               body) +
         "<p class='muted'>Over single positions, as llama-perplexity defines them: Δp is the change of the next token's "
         "probability. Their errors take positions as independent and are too small for text; the intervals above are over "
         "windows.</p>";
}

std::string noiseTable(const std::vector<PolicyRow> &policies, const std::vector<NoiseRow> &noise) {
  if (noise.empty()) return "";
  std::string body;
  for (const PolicyRow &policy : policies)
    for (const NoiseRow &row : noise)
      if (row.policy == policy.index)
        body += "<tr>" + policyCell(policy.policy) + cell(number(row.nllDifference, 3)) +
                cell(number(100 * std::expm1(row.nllDifference), 3)) + cell(number(row.klDifference, 3)) + "</tr>";
  const NoiseFloor floor = noiseFloor(noise);
  return fmt::format(
             "<h3>Noise floor</h3><p>One window scored again with the embedded tokens perturbed by {} moves the mean "
             "NLL by {} nats and the mean KL by {} (root mean square over policies). Differences between settings on "
             "one window that are not larger mean nothing; over W windows they shrink with the square root of W.</p>",
             number(noise.front().perturbation, 2), number(floor.nllNats, 3), number(floor.klNats, 3)) +
         table({"NLL, nats", "ppl, %", "KL, nats"}, body);
}

std::string workTable(const RunRow &run, const std::vector<PolicyRow> &policies,
                      const std::vector<OperationRow> &operations) {
  struct Work {
    double flops = 0, nanoseconds = 0;
    std::map<std::int64_t, int> windows;
  };
  std::map<std::int64_t, Work> work; // by policy
  for (const OperationRow &row : operations) {
    if (row.operation != "qkv" && row.operation != "cache" && row.operation != "attend") continue;
    Work &w = work[row.policy];
    w.flops += row.flops, w.nanoseconds += static_cast<double>(row.nanoseconds), w.windows[row.window] = 1;
  }
  const auto perToken = [&](double sum, const Work &w) {
    return sum / static_cast<double>(w.windows.size()) / static_cast<double>(run.window);
  };
  if (!work.contains(-1) || run.window == 0) return "";
  const double exactFlops = perToken(work[-1].flops, work[-1]);
  std::string body;
  for (const PolicyRow &policy : policies) {
    const auto found = work.find(policy.index);
    if (found == work.end() || policy.relativeSize <= 0) continue;
    const double bytes = static_cast<double>(policy.formatBytes) / static_cast<double>(run.window);
    const double saved = bytes / policy.relativeSize - bytes,
                 extra = perToken(found->second.flops, found->second) - exactFlops;
    body += "<tr>" + policyCell(policy.policy) + cell(number(bytes, 5)) + cell(number(saved, 5)) +
            cell(number(extra / 1e6, 3)) + cell(saved > 0 ? number(extra / saved, 3) : "—") +
            cell(number(perToken(found->second.nanoseconds, found->second) / 1e3, 3)) + "</tr>";
  }
  if (body.empty()) return "";
  return "<h3>Bytes saved against work</h3>" +
         table({"cache bytes<br>a token", "saved against<br>FP16, bytes", "extra work,<br>MFLOP a token",
                "FLOP a byte<br>saved", "time,<br>µs a token"},
               body) +
         "<p class='muted'>Work is counted from shapes, for projections, packing, rebuilding and attention, minus the exact "
         "model's: each token once a window, as in scoring. A device gains by it where it computes more FLOP in the time of "
         "one "
         "byte than the fifth column says (378 for an H100 PCIe, arXiv 2508.10395 section 3.4). The time is this "
         "machine's.</p>";
}

std::string quotedForShell(const std::string &text) {
  if (!text.empty() &&
      text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=,-") == std::string::npos)
    return text;
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

std::string repeatCommands(const RunRow &run) {
  if (run.spec.empty()) return "";
  const char *const program = run.kind == "profile" ? "xqscope-cli profile --spec" : "xqscope-cli run";
  const std::string commands =
      run.kind == "generate"
          ? generationCommand(run)
          : fmt::format("printf '%s' {} > run.json\n{} run.json --store repeated.xqs --report repeated.html\n",
                        quotedForShell(run.spec), program);
  const std::string same =
      run.kind == "eval" ? fmt::format("xqscope-cli compare {}#{} repeated.xqs\n", "STORE.xqs", run.id) : std::string();
  return fmt::format("<details><summary>Commands that repeat it</summary><pre>{}{}</pre></details>", escape(commands),
                     escape(same));
}

std::string dataTable(const std::vector<PolicyRow> &policies, const std::vector<WindowRow> &windows) {
  if (windows.empty()) return "";
  std::map<std::int64_t, const PolicyRow *> names;
  for (const PolicyRow &policy : policies) names[policy.index] = &policy;
  const auto number = [](double x) { return std::isfinite(x) ? fmt::format("{}", x) : std::string(); };
  std::string csv = "policy,relative_size,window,positions,mean_nll,mean_kl,top1\n";
  for (const WindowRow &row : windows) {
    const auto policy = names.find(row.policy);
    csv += policy != names.end() ? fmt::format("\"{}\",{}", policy->second->policy, policy->second->relativeSize)
                                 : std::string("\"exact model\",");
    csv +=
        fmt::format(",{},{},{},{},{}\n", row.window, row.tokens, number(row.meanNll), number(row.meanKl), number(row.top1));
  }
  return fmt::format("<details><summary>Data: {} windows as CSV</summary><pre>{}</pre></details>", windows.size(),
                     escape(csv));
}

} // namespace xqs
