// SPDX-License-Identifier: Apache-2.0
#include "sets.h"

#include "error.h"
#include "store/run_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <utility>

namespace xqs::cli {

namespace {

/// File and number of the run; 0: all.
std::pair<std::string, RowId> parts(const std::string &argument) {
  const std::size_t hash = argument.rfind('#');
  if (hash == std::string::npos || std::filesystem::exists(argument)) return {argument, 0};
  RowId only = 0;
  const char *begin = argument.data() + hash + 1, *end = argument.data() + argument.size();
  const auto [last, error] = std::from_chars(begin, end, only);
  if (error != std::errc{} || last != end || only < 1)
    throw Error(Code::Usage, fmt::format("'{}': after # comes the number of a run, as study.xqs#2", argument));
  return {argument.substr(0, hash), only};
}

} // namespace

std::string storeOf(const std::string &argument) { return parts(argument).first; }

StoredSet readSet(const std::string &argument) {
  const auto [file, only] = parts(argument);
  RunReader reader(file);
  StoredSet set;
  set.rows.name = argument;
  for (RunRow &run : reader.rowsAfter<RunRow>(0))
    if (run.kind == "eval" && (only == 0 || run.id == only)) set.rows.runs.push_back(std::move(run));
  if (set.rows.runs.empty())
    throw Error(Code::Usage, only == 0 ? fmt::format("{} has no evaluation; give a store of eval or run", file)
                                       : fmt::format("{} has no evaluation number {}; leave #{} out to take all of it", file,
                                                     only, only));
  const auto wanted = [&](RowId run) {
    return std::any_of(set.rows.runs.begin(), set.rows.runs.end(), [run](const RunRow &r) { return r.id == run; });
  };
  set.rows.policies = reader.rowsAfter<PolicyRow>(0), set.rows.windows = reader.rowsAfter<WindowRow>(0);
  for (NoiseRow &row : reader.rowsAfter<NoiseRow>(0))
    if (wanted(row.run)) set.noise.push_back(row);
  return set;
}

SensitivityMatrix readMatrix(const std::string &argument) {
  std::vector<SensitivityMatrix> matrices = sensitivityMatrices(readSet(argument).rows);
  const std::string file = storeOf(argument);
  if (matrices.empty())
    throw Error(Code::Usage, fmt::format("{} has no layer that was quantized alone; measure them with: xqscope-cli run "
                                         "sensitivity --store {}",
                                         argument, file));
  if (matrices.size() > 1) {
    std::string runs;
    for (const SensitivityMatrix &m : matrices)
      runs += fmt::format("{}#{} ({})", runs.empty() ? "" : ", ", m.run.id, m.run.title);
    throw Error(Code::Usage, fmt::format("{} has {} matrices, of runs {}; choose one, as {}#{}", argument, matrices.size(),
                                         runs, file, matrices.front().run.id));
  }
  return std::move(matrices.front());
}

} // namespace xqs::cli
