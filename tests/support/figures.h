// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <set>
#include <string>

namespace xqs::test {

/// What an exported store says, without what tells two runs of one study apart: ids, times, uuids, the log, how runs ended,
/// and on how many threads they ran. Runs are named by their study key; rows are sorted.
inline nlohmann::json figuresOf(const nlohmann::json &store) {
  static const std::set<std::string> kAside = {"id",      "uuid",    "started_utc", "ended_utc",  "seconds",
                                               "threads", "machine", "device",      "nanoseconds"};
  std::map<std::int64_t, std::string> keys;
  for (const nlohmann::json &run : store.at("run")) keys[run.at("id")] = run.at("study_key");
  nlohmann::json figures = nlohmann::json::object();
  for (const auto &[table, rows] : store.items()) {
    if (!rows.is_array() || table == "log" || table == "run_end") continue;
    std::vector<nlohmann::json> sorted;
    for (nlohmann::json row : rows) {
      for (const std::string &column : kAside) row.erase(column);
      if (row.contains("run")) row["run"] = keys.at(row.at("run"));
      if (row.contains("spec")) {
        nlohmann::json spec = nlohmann::json::parse(row.at("spec").get<std::string>());
        spec.erase("threads");
        row["spec"] = spec;
      }
      sorted.push_back(std::move(row));
    }
    std::sort(sorted.begin(), sorted.end());
    figures[table] = sorted;
  }
  return figures;
}

/// The first difference in words; empty where there is none.
inline std::string differenceOf(const nlohmann::json &a, const nlohmann::json &b) {
  for (const auto &[table, rows] : a.items()) {
    if (rows == b.at(table)) continue;
    if (rows.size() != b.at(table).size())
      return table + ": " + std::to_string(rows.size()) + " and " + std::to_string(b.at(table).size()) + " rows";
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (rows[i] != b.at(table)[i])
        return table + ": " + rows[i].dump().substr(0, 400) + "\nand " + b.at(table)[i].dump().substr(0, 400);
  }
  return "";
}

} // namespace xqs::test
