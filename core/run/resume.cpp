// SPDX-License-Identifier: Apache-2.0
#include "run/resume.h"

#include <algorithm>
#include <numeric>

namespace xqs {

namespace {

template <class T, class Use> void forRun(RunReader &reader, RowId run, Use use) {
  for (const T &row : reader.rowsAfter<T>(0))
    if (row.run == run) use(row);
}

} // namespace

void StoredRun::alsoHas(const StoredRun &other) {
  policies.insert(other.policies.begin(), other.policies.end());
  scored.insert(other.scored.begin(), other.scored.end());
  noise.insert(other.noise.begin(), other.noise.end());
  opened.insert(other.opened.begin(), other.opened.end());
  captured.insert(other.captured.begin(), other.captured.end());
  problems.insert(other.problems.begin(), other.problems.end());
}

StoredRun storedRun(RunReader &reader, const std::string &study, const std::string &studyKey) {
  StoredRun stored;
  for (const RunRow &run : reader.rowsAfter<RunRow>(0))
    if (run.study == study && run.studyKey == studyKey) stored.id = run.id;
  if (stored.id == 0) return stored;
  forRun<RunEndRow>(reader, stored.id, [&](const RunEndRow &row) { stored.finished = row.status == "finished"; });
  forRun<PolicyRow>(reader, stored.id, [&](const PolicyRow &row) { stored.policies.emplace(row.policy, row.index); });
  forRun<WindowRow>(reader, stored.id, [&](const WindowRow &row) { stored.scored.insert({{row.policy, row.window}, row}); });
  forRun<NoiseRow>(reader, stored.id, [&](const NoiseRow &row) { stored.noise.insert({row.policy, row.window}); });
  forRun<SimilarityRow>(reader, stored.id, [&](const SimilarityRow &row) { stored.captured.insert(row.window); });
  forRun<LayerErrorRow>(reader, stored.id, [&](const LayerErrorRow &row) {
    if (row.loop == "open") stored.opened.insert({row.policy, row.window});
  });
  forRun<ProblemRow>(reader, stored.id, [&](const ProblemRow &row) { stored.problems.insert(row.text); });
  return stored;
}

std::vector<std::int64_t> policyIndices(const std::vector<PolicySpec> &policies, const StoredRun &stored) {
  std::set<std::int64_t> taken;
  for (const auto &[policy, index] : stored.policies) taken.insert(index);
  std::int64_t next = std::max(taken.empty() ? 0 : *taken.rbegin() + 1, static_cast<std::int64_t>(policies.size()));
  std::vector<std::int64_t> indices;
  for (std::size_t i = 0; i < policies.size(); ++i) {
    const auto known = stored.policies.find(policies[i].canonical());
    const auto place = static_cast<std::int64_t>(i);
    indices.push_back(known != stored.policies.end() ? known->second : taken.contains(place) ? next++ : place);
  }
  return indices;
}

RunPart partOf(const Experiment &experiment, const std::function<void(const PolicySpec &)> &refuseMisfit,
               const std::vector<std::size_t> &policies, StoredRun stored) {
  RunPart part;
  part.indices = policyIndices(experiment.policies, stored);
  for (const std::size_t policy : policies) {
    try {
      refuseMisfit(experiment.policies[policy]);
      part.policies.push_back(policy);
    } catch (const Error &error) {
      if (error.code() != Code::Usage) throw;
      part.misfits.push_back({policy, error.what()});
    }
  }
  part.stored = std::move(stored);
  return part;
}

std::vector<std::size_t> allPolicies(const Experiment &experiment) {
  std::vector<std::size_t> all(experiment.policies.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  return all;
}

std::vector<WindowWork> missingWork(const Experiment &experiment, Index windows, const RunPart &part, bool captures) {
  std::vector<WindowWork> all;
  for (Index window = experiment.firstWindow; window < experiment.firstWindow + windows; ++window) {
    const bool first = window == experiment.firstWindow;
    WindowWork work;
    work.window = window;
    work.captureExact = first && captures && !part.stored.captured.contains(window);
    for (const std::size_t policy : part.policies) {
      const StoredRun::Point point{part.indices[policy], window};
      if (!part.stored.scored.contains(point)) work.score.push_back(policy);
      if (first && captures && !part.stored.opened.contains(point)) work.open.push_back(policy);
      if (first && experiment.noiseFloor && !part.stored.noise.contains(point)) work.noise.push_back(policy);
    }
    if (work.any()) all.push_back(std::move(work));
  }
  return all;
}

} // namespace xqs
