// SPDX-License-Identifier: Apache-2.0
#include "compare.h"

#include "error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

namespace xqs {
namespace {

using Values = std::vector<std::pair<std::int64_t, double>>; ///< window, quality; ascending, each window once

Values valuesOf(std::span<const WindowRow> rows, Quality quality) {
  Values values;
  for (const WindowRow &row : rows) values.emplace_back(row.window, quality == Quality::Kl ? row.meanKl : row.meanNll);
  const auto before = [](const auto &a, const auto &b) { return a.first < b.first; };
  const auto same = [](const auto &a, const auto &b) { return a.first == b.first; };
  std::stable_sort(values.begin(), values.end(), before);
  const auto unique = std::unique(values.rbegin(), values.rend(), same); // from behind: the later row stays
  values.erase(values.begin(), unique.base());
  return values;
}

/// A field that must be equal, and what a person knows it by.
struct Field {
  const char *name;
  std::string RunRow::*value;
  std::string RunRow::*label;
};
constexpr Field kFields[] = {{"kind", &RunRow::kind, nullptr},
                             {"model_hash", &RunRow::modelHash, &RunRow::model},
                             {"tokens_hash", &RunRow::tokensHash, &RunRow::text},
                             {"state", &RunRow::state, nullptr},
                             {"protocol", &RunRow::protocol, nullptr}};

std::string shown(const RunRow &run, const Field &field) {
  const std::string &value = run.*field.value;
  return field.label == nullptr ? fmt::format("'{}'", value)
                                : fmt::format("{:.12} ({})", value.empty() ? "none" : value, run.*field.label);
}

/// What moves a policy's figures although the same tokens are scored.
bool sameSetting(const RunRow &a, const RunRow &b) {
  return a.backend == b.backend && a.seed == b.seed && a.calibrationTokensHash == b.calibrationTokensHash &&
         a.calibrationWindows == b.calibrationWindows;
}

PolicyRow exactPolicy(RowId run) {
  PolicyRow row;
  row.run = run, row.index = -1, row.policy = PolicyScores::kExact, row.method = "exact";
  row.bitsPerElement = row.relativeSize = row.relativeSizeMha = std::numeric_limits<double>::quiet_NaN();
  return row;
}

/// Collects a set's rows into `PolicyScores`.
class Grouping {
public:
  void add(const RunRow &run, const PolicyRow &policy) {
    const auto group = std::ranges::find_if(
        m_groups, [&](const Group &g) { return g.scores.policy.policy == policy.policy && sameSetup(g.scores.run, run); });
    m_groupOf[{policy.run, policy.index}] = static_cast<std::size_t>(group - m_groups.begin());
    if (group == m_groups.end()) m_groups.push_back({{run, policy, {}}, {}});
  }

  void add(const WindowRow &row) {
    const auto group = m_groupOf.find({row.run, row.policy});
    if (group != m_groupOf.end()) m_groups[group->second].windows[row.window] = row;
  }

  std::vector<PolicyScores> take() {
    std::vector<PolicyScores> result;
    for (Group &group : m_groups) {
      for (const auto &[window, row] : group.windows) group.scores.windows.push_back(row);
      if (!group.windows.empty()) result.push_back(std::move(group.scores));
    }
    return result;
  }

private:
  struct Group {
    PolicyScores scores;
    std::map<std::int64_t, WindowRow> windows;
  };
  std::vector<Group> m_groups;
  std::map<std::pair<RowId, std::int64_t>, std::size_t> m_groupOf; ///< by run and policy
};

/// A set's policies while they are put beside those of others.
struct Column {
  std::vector<PolicyScores> scores;
  std::vector<bool> used;
};

/// The first row of the column that is not used yet and may stand beside `scores`; it is used then.
std::optional<PolicyScores> takeCounterpart(Column &column, const PolicyScores &scores, bool anySetting) {
  for (std::size_t i = 0; i < column.scores.size(); ++i) {
    const PolicyScores &other = column.scores[i];
    if (column.used[i] || other.policy.policy != scores.policy.policy) continue;
    if (!anySetting && !sameSetting(other.run, scores.run)) continue;
    if (!differingFields(other.run, scores.run).empty()) continue;
    column.used[i] = true;
    return other;
  }
  return {};
}

/// What keeps the column's closest row of the same policy from being paired; empty where it has none or nothing does.
std::string refusal(const Column &column, const PolicyScores &scores) {
  std::optional<std::vector<std::string>> fewest;
  for (const PolicyScores &other : column.scores) {
    if (other.policy.policy != scores.policy.policy) continue;
    std::vector<std::string> differing = differingFields(scores.run, other.run);
    if (!fewest || differing.size() < fewest->size()) fewest = std::move(differing);
  }
  return fewest ? fmt::format("{}", fmt::join(*fewest, "; ")) : "";
}

/// Rows of what is left of column `from`, with their counterparts in later columns.
std::vector<ComparedRow> rowsFrom(std::vector<Column> &columns, std::size_t from) {
  std::vector<ComparedRow> rows;
  for (std::size_t i = 0; i < columns[from].scores.size(); ++i) {
    if (columns[from].used[i]) continue;
    const PolicyScores &scores = columns[from].scores[i];
    rows.push_back({scores.policy.policy, std::vector<ComparedRow::Cell>(columns.size())});
    rows.back().cells[from].scores = scores;
  }
  for (const bool anySetting : {false, true}) // all that are alike find each other first
    for (ComparedRow &row : rows)
      for (std::size_t k = from + 1; k < columns.size(); ++k)
        if (!row.cells[k].scores) row.cells[k].scores = takeCounterpart(columns[k], *row.cells[from].scores, anySetting);
  for (ComparedRow &row : rows)
    for (std::size_t k = 0; k < columns.size(); ++k)
      if (!row.cells[k].scores) row.cells[k].refused = refusal(columns[k], *row.cells[from].scores);
  return rows;
}

} // namespace

Estimate windowDifference(std::span<const WindowRow> a, std::span<const WindowRow> b, Quality quality) {
  const Values first = valuesOf(a, quality), second = valuesOf(b, quality);
  std::vector<double> differences;
  auto other = second.begin();
  for (const auto &[window, value] : first) {
    while (other != second.end() && other->first < window) ++other;
    if (other != second.end() && other->first == window) differences.push_back(value - other->second);
  }
  return meanOf(differences);
}

std::vector<std::string> differingFields(const RunRow &a, const RunRow &b) {
  std::vector<std::string> differing;
  if (a.window != b.window) differing.push_back(fmt::format("window: {} and {} tokens", a.window, b.window));
  for (const Field &field : kFields)
    if (a.*field.value != b.*field.value)
      differing.push_back(fmt::format("{}: {} and {}", field.name, shown(a, field), shown(b, field)));
  return differing;
}

bool sameSetup(const RunRow &a, const RunRow &b) { return sameSetting(a, b) && differingFields(a, b).empty(); }

std::vector<PolicyScores> scoresOf(const RowSet &set) {
  Grouping groups;
  std::map<RowId, const RunRow *> runs;
  for (const RunRow &run : set.runs) runs[run.id] = &run, groups.add(run, exactPolicy(run.id));
  for (const PolicyRow &policy : set.policies)
    if (const auto run = runs.find(policy.run); run != runs.end()) groups.add(*run->second, policy);
  for (const WindowRow &row : set.windows) groups.add(row);
  return groups.take();
}

Difference difference(const PolicyScores &a, const PolicyScores &b, const NoiseFloor &noise) {
  const std::vector<std::string> differing = differingFields(a.run, b.run);
  if (!differing.empty())
    throw Error(Code::Usage, fmt::format("{} and {} cannot be compared: {}; score both on the same text, model and protocol",
                                         a.policy.policy, b.policy.policy, fmt::join(differing, "; ")));
  Difference d;
  d.kl = windowDifference(a.windows, b.windows, Quality::Kl);
  d.nll = windowDifference(a.windows, b.windows, Quality::Nll);
  if (noise.count > 0 && d.nll.count > 0) {
    const double shrink = std::sqrt(static_cast<double>(d.nll.count)); // windows are noisy one by one
    d.klBelowNoise = std::abs(d.kl.mean) < noise.klNats / shrink;
    d.nllBelowNoise = std::abs(d.nll.mean) < noise.nllNats / shrink;
  }
  return d;
}

std::vector<ComparedRow> sideBySide(std::span<const RowSet> sets, const NoiseFloor &noise) {
  std::vector<Column> columns;
  for (const RowSet &set : sets) {
    columns.push_back({scoresOf(set), {}});
    columns.back().used.resize(columns.back().scores.size());
  }
  std::vector<ComparedRow> rows;
  for (std::size_t from = 0; from < columns.size(); ++from)
    for (ComparedRow &row : rowsFrom(columns, from)) rows.push_back(std::move(row));
  for (ComparedRow &row : rows)
    for (std::size_t k = 1; k < columns.size(); ++k)
      if (row.cells[0].scores && row.cells[k].scores)
        row.cells[k].toFirst = difference(*row.cells[k].scores, *row.cells[0].scores, noise);
  return rows;
}

} // namespace xqs
