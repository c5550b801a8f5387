// SPDX-License-Identifier: Apache-2.0
#include "analysis/generation.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace xqs {

namespace {

/// Bytes a token of the model's own FP16 KV, from any row of the exact model; NaN without one.
double fp16BytesPerToken(const GenerationColumn &exact) {
  for (const GeneratedRow *row : exact.tokens)
    if (row->cacheTokens > 0) return static_cast<double>(row->formatBytes) / static_cast<double>(row->cacheTokens);
  return std::nan("");
}

void finish(GenerationColumn &column, double fp16PerToken) {
  std::sort(column.tokens.begin(), column.tokens.end(), [](const auto *a, const auto *b) { return a->step < b->step; });
  for (const GeneratedRow *row : column.tokens) {
    if (row->sameAsExact == 0 && !column.divergence) column.divergence = row->step;
    if (row->sameAsPerturbed == 0 && !column.noise) column.noise = row->step;
    column.noiseMeasured = column.noiseMeasured || row->sameAsPerturbed >= 0;
    column.ended = column.ended || row->ends != 0;
  }
  column.withinNoise = column.divergence && column.noise && *column.divergence >= *column.noise;
  column.fp16BytesPerToken = fp16PerToken;
  column.tokensPerSecond = column.relativeSize = std::nan("");
  if (column.tokens.empty()) return;
  const GeneratedRow &first = *column.tokens.front(), &last = *column.tokens.back();
  if (last.seconds > first.seconds)
    column.tokensPerSecond = static_cast<double>(last.step - first.step) / (last.seconds - first.seconds);
  column.relativeSize = static_cast<double>(last.formatBytes) / (fp16PerToken * static_cast<double>(last.cacheTokens));
}

} // namespace

std::vector<GenerationColumn> generationColumns(const std::vector<GeneratedRow> &rows,
                                                const std::vector<PolicyRow> &policies) {
  std::map<std::int64_t, GenerationColumn> columns;
  columns[-1].policy = -1;
  for (const PolicyRow &policy : policies) columns[policy.index].policy = policy.index;
  for (const GeneratedRow &row : rows) {
    GenerationColumn &column = columns[row.policy];
    column.policy = row.policy;
    column.tokens.push_back(&row);
  }
  const double fp16PerToken = fp16BytesPerToken(columns[-1]);
  std::vector<GenerationColumn> list;
  for (auto &[index, column] : columns) {
    finish(column, fp16PerToken);
    list.push_back(std::move(column));
  }
  return list;
}

} // namespace xqs
