// SPDX-License-Identifier: Apache-2.0
#include "merge.h"

#include "error.h"
#include "run_store.h"
#include "schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

namespace xqs {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t kRowsAtOnce = 1000; // a table may be larger than memory should hold
constexpr double kSameNll = 1e-4;          // relative; another machine's sums differ by 1e-5 (findings.md 7)

std::string runIdentity(const RunRow &run) {
  return run.study.empty() ? "run " + run.uuid : "study " + run.study + '\0' + run.studyKey;
}

/// Calls `use(row)` for every row of a table.
template <class T, class Use> void forEachRow(RunReader &reader, Use use) {
  for (RowId last = 0;;) {
    std::vector<T> rows = reader.rowsAfter<T>(last, kRowsAtOnce);
    if (rows.empty()) return;
    last = rows.back().id;
    for (T &row : rows) use(row);
  }
}

/// Refuses files whose runs have one key and two meanings.
class MeaningCheck {
public:
  void add(const fs::path &file, RunReader &reader) {
    std::map<RowId, const RunRow *> runs;
    const std::vector<RunRow> rows = reader.rowsAfter<RunRow>(0);
    for (const RunRow &run : rows)
      if (!run.study.empty()) runs[run.id] = &run;
    forEachRow<PolicyRow>(reader, [&](const PolicyRow &row) {
      if (const auto run = runs.find(row.run); run != runs.end()) addPolicy(file, *run->second, row);
    });
    forEachRow<WindowRow>(reader, [&](const WindowRow &row) {
      const auto run = runs.find(row.run);
      if (run != runs.end() && row.policy < 0) addExact(file, *run->second, row);
    });
  }

private:
  template <class Value> struct Said {
    Value value;
    fs::path file;
  };
  using Place = std::pair<std::string, std::int64_t>; // run identity; policy index or window

  void addPolicy(const fs::path &file, const RunRow &run, const PolicyRow &row) {
    const auto [said, isNew] = m_policies.try_emplace({runIdentity(run), row.index}, Said<std::string>{row.policy, file});
    if (isNew || said->second.value == row.policy) return;
    throw Error(
        Code::Usage,
        fmt::format("study '{}' has policy {} at place {} in {} and {} in {}: they are different studies; merge them "
                    "into two files",
                    run.study, said->second.value, row.index, said->second.file.string(), row.policy, file.string()));
  }

  void addExact(const fs::path &file, const RunRow &run, const WindowRow &row) {
    const auto [said, isNew] = m_exact.try_emplace({runIdentity(run), row.window}, Said<double>{row.meanNll, file});
    const double first = said->second.value, second = row.meanNll;
    if (isNew || std::abs(first - second) <= kSameNll * std::abs(first) || (std::isnan(first) && std::isnan(second))) return;
    throw Error(Code::Usage,
                fmt::format("study '{}': window {} of the exact model has a mean NLL of {:.6f} in {} and {:.6f} in "
                            "{}, which is more than rounding: one of them was not made by this program; merge "
                            "them into two files",
                            run.study, row.window, first, said->second.file.string(), second, file.string()));
  }

  std::map<Place, Said<std::string>> m_policies;
  std::map<Place, Said<double>> m_exact;
};

/// The file that grows, and what its runs have.
class Target {
public:
  explicit Target(const fs::path &file) {
    if (std::optional<RunReader> existing = openIfWritten(file)) {
      RunReader &reader = *existing;
      for (const RunRow &run : reader.rowsAfter<RunRow>(0)) m_runs.try_emplace(runIdentity(run), run.id);
      schema::forEachRecord([&]<class T>() {
        if constexpr (!std::is_same_v<T, RunRow>)
          forEachRow<T>(reader, [&](const T &row) { m_known[row.run].insert(keyOf(row)); });
      });
      for (const RunEndRow &end : reader.rowsAfter<RunEndRow>(0)) m_ended[end.run] = end;
    }
    m_store.emplace(file);
  }

  void add(RunReader &reader) {
    std::map<RowId, RowId> runs; // theirs, ours
    std::set<RowId> study;       // theirs
    for (const RunRow &run : reader.rowsAfter<RunRow>(0)) {
      runs[run.id] = runFor(run);
      if (!run.study.empty()) study.insert(run.id);
    }
    std::map<RowId, RunEndRow> ends; // how each of their study's runs ended; the last row says
    for (const RowId run : study) ends[run].status = "not finished";
    for (const RunEndRow &end : reader.rowsAfter<RunEndRow>(0))
      if (study.contains(end.run)) ends[end.run] = end;
    for (const auto &[run, end] : ends) m_parts[runs.at(run)].push_back(end);

    m_store->continueRun();
    // Windows last: a point is there once its window is.
    const auto copy = [&]<class T>() {
      forEachRow<T>(reader, [&](T &row) {
        const auto run = runs.find(row.run);
        if (run == runs.end() || (std::is_same_v<T, RunEndRow> && study.contains(row.run))) return;
        row.run = run->second;
        if (!m_known[row.run].insert(keyOf(row)).second) return;
        if constexpr (std::is_same_v<T, WindowRow>) m_result.points += row.policy >= 0;
        m_grown.insert(row.run);
        m_store->append(Record(std::move(row)));
      });
    };
    schema::forEachRecord([&]<class T>() {
      if constexpr (!std::is_same_v<T, RunRow> && !std::is_same_v<T, WindowRow>) copy.template operator()<T>();
    });
    copy.template operator()<WindowRow>();
  }

  MergeResult finish() {
    for (const auto &[run, parts] : m_parts) {
      if (m_ended.contains(run) && !m_grown.contains(run)) continue;
      RunEndRow end;
      end.run = run, end.status = "finished";
      std::int64_t open = 0;
      for (const RunEndRow &part : parts) {
        open += part.status != "finished";
        end.seconds += part.seconds;
        end.endedUtc = std::max(end.endedUtc, part.endedUtc);
      }
      if (open > 0) {
        end.status = "cancelled";
        end.message = fmt::format("merged from {} parts of which {} had not finished", parts.size(), open);
      }
      m_store->append(end);
    }
    m_store->close();
    return m_result;
  }

private:
  template <class T> static std::string keyOf(const T &row) {
    return std::string(T::kTable) + '\0' + schema::identityOf(row);
  }

  RowId runFor(const RunRow &run) {
    const auto [known, isNew] = m_runs.try_emplace(runIdentity(run), 0);
    if (isNew) {
      known->second = m_store->beginRun(run);
      m_result.newRuns += 1;
    }
    return known->second;
  }

  std::optional<RunStore> m_store;
  std::map<std::string, RowId> m_runs;            // by identity
  std::map<RowId, std::set<std::string>> m_known; // by run: keys of its rows
  std::map<RowId, RunEndRow> m_ended;             // before
  std::map<RowId, std::vector<RunEndRow>> m_parts;
  std::set<RowId> m_grown;
  MergeResult m_result;
};

} // namespace

MergeResult mergeStores(const fs::path &out, std::span<const fs::path> in) {
  MeaningCheck check;
  std::vector<RunReader> readers;
  if (std::optional<RunReader> existing = openIfWritten(out)) check.add(out, *existing);
  for (const fs::path &file : in) {
    std::error_code ignored;
    if (fs::equivalent(file, out, ignored))
      throw Error(Code::Usage, fmt::format("cannot merge {} into itself: name another output", file.string()));
    readers.emplace_back(file);
    check.add(file, readers.back());
  }
  Target target(out);
  for (RunReader &reader : readers) target.add(reader);
  return target.finish();
}

} // namespace xqs
