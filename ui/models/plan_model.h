// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "models/table_model.h"

#include "cache/layout.h"
#include "cache/plan.h"

#include <optional>
#include <vector>

namespace xqs {

/// One layer of a plan: what K and V follow (equal: stored together), and what that stores.
struct PlanRow {
  int layer = 0;
  PolicySpec k, v;
  std::int64_t formatBytes = -1; ///< of a window; < 0: the plan does not fit the model
  double relativeSize = 0;       ///< over the layer's own FP16 K and V
  bool base = false;             ///< of an xquant-cl chain: stored at first_bits
  bool together() const { return k.canonical() == v.canonical(); }
};

/// A plan as a table with a row a layer. Holds any plan: one that does not fit the model has no sizes and a `problem`.
/// Sizes come from `footprint`.
class PlanModel : public TableModel<PlanRow> {
  Q_OBJECT
public:
  enum Columns { LayerColumn, KColumn, VColumn, BytesColumn, RelativeColumn };
  static constexpr int MethodRole = SortRole + 1; ///< of K and V cells: the method's name, for its colour
  explicit PlanModel(QObject *parent = nullptr);
  QVariant data(const QModelIndex &index, int role) const override;

  /// Sizes are those of one window of `tokens` tokens on this model. Layers that the plan lacks are FP16.
  void setModel(const ModelShape &shape, Index tokens, State state);
  /// Throws Usage where the policy is no plan.
  void setPlan(const PolicySpec &plan);
  /// Gives layers, or one side of them, a policy. Throws Usage where a layer by itself cannot follow it: nothing changes.
  void setLayers(const std::vector<int> &layers, std::optional<Side> side, const PolicySpec &policy);

  PolicySpec plan() const;
  const QString &problem() const { return m_problem; } ///< why the plan does not fit the model; empty: it does
  const ModelShape &shape() const { return m_shape; }
  CacheBytes bytes() const { return m_bytes; } ///< of the whole plan, where it fits
  double relativeSize() const { return m_relativeSize; }
  Index tokens() const { return m_tokens; }

private:
  void takePolicies(std::vector<LayerPolicies> layers);
  std::vector<LayerPolicies> policies() const;

  ModelShape m_shape{};
  Index m_tokens = 0;
  State m_state = State::All;
  QString m_problem;
  CacheBytes m_bytes;
  double m_relativeSize = 0;
};

} // namespace xqs
