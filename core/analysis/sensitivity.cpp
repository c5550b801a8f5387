// SPDX-License-Identifier: Apache-2.0
#include "sensitivity.h"

#include "cache/layer_plan.h"
#include "error.h"
#include "run_shape.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace xqs {
namespace {

constexpr const char *kFp16 = "fp16";

/// The stored text parsed again; none where this program no longer knows it.
std::optional<PolicySpec> parsed(const std::string &policy) {
  try {
    return PolicySpec::parse(policy);
  } catch (const Error &) {
    return {};
  }
}

/// Format bits of a window of what the isolated layer, or its side, stores.
std::int64_t bitsOf(const PolicySpec &plan, const IsolatedLayer &isolated, const ModelShape &shape, Index window) {
  const LayerPlan layer = layerPlan(plan, shape, isolated.layer);
  std::int64_t bits = 0;
  for (std::size_t i = 0; i < layer.tensors.size(); ++i) {
    const RebuiltSide &side = isolated.side == Side::V ? layer.v : layer.k;
    if (isolated.side && side.tensor != static_cast<int>(i)) continue;
    const TensorSpec &tensor = layer.tensors[i].spec;
    bits += formatBits(tensor, window, tensor.closedAt(window, State::All)).formatBits();
  }
  return bits;
}

/// The row of a setting, made where it is new.
SensitivitySetting &settingOf(SensitivityMatrix &matrix, const IsolatedLayer &isolated) {
  const std::string policy = planText(isolated.policy);
  for (SensitivitySetting &setting : matrix.settings)
    if (setting.policy == policy && setting.side == isolated.side && setting.span == isolated.span) return setting;
  const std::string part = isolated.side              ? (*isolated.side == Side::K ? ", K" : ", V")
                           : isolated.span > 1        ? ", delta"
                           : isChain(isolated.policy) ? ", base"
                                                      : "";
  matrix.settings.push_back({policy, isolated.policy, isolated.side, isolated.span, policy + part,
                             std::vector<SensitivityCell>(static_cast<std::size_t>(matrix.shape.layers))});
  return matrix.settings.back();
}

void addCell(SensitivityMatrix &matrix, const PolicySpec &plan, const IsolatedLayer &isolated, const PolicyScores &scores) {
  SensitivityCell cell;
  try {
    cell.bits = bitsOf(plan, isolated, matrix.shape, matrix.run.window);
  } catch (const Error &) {
    return; // it does not fit the model: nothing was measured either
  }
  cell.bytesPerToken = static_cast<double>(cell.bits) / 8 / static_cast<double>(matrix.run.window);
  cell.windows = scores.windows;
  settingOf(matrix, isolated).cells[static_cast<std::size_t>(isolated.layer)] = std::move(cell);
}

/// Windows that most cells have: an interrupted run has measured the last one in a part of them.
std::vector<std::int64_t> commonWindows(const SensitivityMatrix &matrix) {
  std::map<std::int64_t, int> cells;
  int most = 0;
  for (const SensitivitySetting &setting : matrix.settings)
    for (const SensitivityCell &cell : setting.cells)
      for (const WindowRow &row : cell.windows) most = std::max(most, ++cells[row.window]);
  std::vector<std::int64_t> windows;
  for (const auto &[window, count] : cells)
    if (count == most) windows.push_back(window);
  return windows;
}

/// Leaves the rows of `windows`; none where one of them is missing.
void restrict(std::vector<WindowRow> &rows, const std::vector<std::int64_t> &windows) {
  std::erase_if(rows, [&](const WindowRow &row) { return !std::ranges::binary_search(windows, row.window); });
  if (rows.size() != windows.size()) rows.clear();
}

void finish(SensitivityMatrix &matrix) {
  matrix.windows = commonWindows(matrix);
  restrict(matrix.fp16, matrix.windows);
  for (PolicyScores &scores : matrix.whole) restrict(scores.windows, matrix.windows);
  std::erase_if(matrix.whole, [](const PolicyScores &scores) { return scores.windows.empty(); });
  for (SensitivitySetting &setting : matrix.settings)
    for (SensitivityCell &cell : setting.cells) {
      restrict(cell.windows, matrix.windows);
      cell.kl = klOf(cell.windows);
      cell.extraKl = matrix.fp16.empty() ? cell.kl : windowDifference(cell.windows, matrix.fp16, Quality::Kl);
    }
}

} // namespace

std::optional<IsolatedLayer> isolatedLayer(const PolicySpec &policy) {
  const PlanEntry *only = nullptr;
  for (const PlanEntry &entry : policy.entries()) {
    if (entry.policy.method().name == kFp16) continue;
    if (only != nullptr || entry.others()) return {};
    only = &entry;
  }
  if (only == nullptr) return {};
  const Index span = only->last - only->first + 1;
  if (span > (isChain(only->policy) && !only->side ? 2 : 1)) return {};
  return IsolatedLayer{only->last, only->side, span, only->policy};
}

bool SensitivitySetting::complete() const {
  for (std::size_t layer = static_cast<std::size_t>(span) - 1; layer < cells.size(); ++layer)
    if (cells[layer].windows.empty()) return false;
  return true;
}

Estimate klOf(const std::vector<WindowRow> &windows) {
  std::vector<double> values;
  for (const WindowRow &row : windows) values.push_back(row.meanKl);
  return meanOf(values);
}

Estimate SensitivityMatrix::fp16Kl() const { return klOf(fp16); }

std::vector<SensitivityMatrix> sensitivityMatrices(const RowSet &rows) {
  std::vector<SensitivityMatrix> matrices;
  for (const PolicyScores &scores : scoresOf(rows)) {
    const std::optional<PolicySpec> policy = scores.policy.index < 0 ? std::nullopt : parsed(scores.policy.policy);
    if (!policy) continue;
    auto matrix = std::ranges::find_if(matrices, [&](const SensitivityMatrix &m) { return sameSetup(m.run, scores.run); });
    if (matrix == matrices.end()) {
      matrices.push_back({scores.run, shapeOf(scores.run), {}, {}, {}, {}});
      matrix = matrices.end() - 1;
    }
    if (policy->method().name == kFp16) matrix->fp16 = scores.windows;
    const auto isolated = isolatedLayer(*policy);
    if (!isolated)
      matrix->whole.push_back(scores);
    else if (isolated->layer < matrix->shape.layers)
      addCell(*matrix, *policy, *isolated, scores);
  }
  std::erase_if(matrices, [](const SensitivityMatrix &m) { return m.settings.empty(); });
  for (SensitivityMatrix &matrix : matrices) finish(matrix);
  return matrices;
}

} // namespace xqs
