// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/plan_model.h"

#include "cache/layer_plan.h"
#include "error.h"
#include "plot/format.h"

#include <QLocale>

#include <algorithm>
#include <utility>

namespace xqs {

namespace {

using Row = PlanRow;

QString fromStd(const std::string &text) { return QString::fromStdString(text); }

QString sideText(const Row &row, const PolicySpec &policy) {
  return row.base ? PlanModel::tr("%1 (base)").arg(fromStd(planText(policy))) : fromStd(planText(policy));
}

QString sideTip(const Row &row, const PolicySpec &policy) {
  QString tip = fromStd(planText(policy));
  if (row.together() && policy.method().name != "fp16") tip += PlanModel::tr("\nK and V are stored together.");
  if (row.base) tip += PlanModel::tr("\nThe first layer of a chain: stored whole, at first_bits.");
  return tip;
}

std::vector<PlanModel::Column> columns() {
  return {
      {PlanModel::tr("Layer"),
       PlanModel::tr("From the input on"),
       [](const Row &r) { return QString::number(r.layer); },
       [](const Row &r) { return r.layer; },
       {}},
      {PlanModel::tr("K"),
       PlanModel::tr("What the layer's keys, or both sides, follow"),
       [](const Row &r) { return sideText(r, r.k); },
       {},
       [](const Row &r) { return sideTip(r, r.k); }},
      {PlanModel::tr("V"),
       PlanModel::tr("What the layer's values follow"),
       [](const Row &r) { return sideText(r, r.v); },
       {},
       [](const Row &r) { return sideTip(r, r.v); }},
      {PlanModel::tr("Bytes"),
       PlanModel::tr("Cache bytes of the layer in one window, computed"),
       [](const Row &r) {
         return r.formatBytes < 0 ? QStringLiteral("–")
                                  : QLocale(QLocale::English).toString(static_cast<qlonglong>(r.formatBytes));
       },
       [](const Row &r) { return static_cast<qlonglong>(r.formatBytes); },
       {}},
      {PlanModel::tr("Rel. size"),
       PlanModel::tr("Over the layer's own FP16 K and V"),
       [](const Row &r) { return r.formatBytes < 0 ? QStringLiteral("–") : QString::number(r.relativeSize, 'f', 3); },
       [](const Row &r) { return r.relativeSize; },
       {}},
  };
}

const PolicySpec &fp16() {
  static const PolicySpec spec = PolicySpec::parse("fp16");
  return spec;
}

/// Policies of `count` layers that a plan's entries name; "*" is for those that no other names.
std::vector<LayerPolicies> layersOf(const PolicySpec &plan, std::size_t count) {
  for (const PlanEntry &e : plan.entries()) count = std::max(count, static_cast<std::size_t>(e.last + 1));
  std::vector<LayerPolicies> layers(count, {fp16(), fp16()});
  for (const bool others : {true, false})
    for (const PlanEntry &e : plan.entries()) {
      if (e.others() != others) continue;
      const auto end = others ? count : static_cast<std::size_t>(e.last + 1);
      for (auto i = static_cast<std::size_t>(e.first); i < end; ++i) {
        if (!e.side || *e.side == Side::K) layers[i].k = e.policy;
        if (!e.side || *e.side == Side::V) layers[i].v = e.policy;
      }
    }
  return layers;
}

} // namespace

PlanModel::PlanModel(QObject *parent) : TableModel(columns(), parent) {}

QVariant PlanModel::data(const QModelIndex &index, int role) const {
  if (role == MethodRole && index.isValid() && (index.column() == KColumn || index.column() == VColumn)) {
    const Row &r = row(index.row());
    return fromStd((index.column() == KColumn ? r.k : r.v).method().name);
  }
  return TableModel::data(index, role);
}

void PlanModel::setModel(const ModelShape &shape, Index tokens, State state) {
  m_shape = shape, m_tokens = tokens, m_state = state;
  takePolicies(policies());
}

void PlanModel::setPlan(const PolicySpec &plan) {
  if (plan.entries().empty())
    throw Error(Code::Usage, "'" + plan.canonical() + "' is no plan; write plan:0-2=xquant:bits=4;*=xquant:bits=2");
  takePolicies(layersOf(plan, static_cast<std::size_t>(m_shape.layers)));
}

void PlanModel::setLayers(const std::vector<int> &layers, std::optional<Side> side, const PolicySpec &policy) {
  const LayerPolicies alone{policy, policy};
  const PolicySpec inPlan = planOfLayers({&alone, 1}).entries().front().policy; // throws what a plan refuses
  std::vector<LayerPolicies> all = policies();
  for (const int layer : layers) {
    if (layer < 0 || layer >= static_cast<int>(all.size())) continue;
    LayerPolicies &one = all[static_cast<std::size_t>(layer)];
    if (!side || *side == Side::K) one.k = inPlan;
    if (!side || *side == Side::V) one.v = inPlan;
  }
  takePolicies(std::move(all));
}

std::vector<LayerPolicies> PlanModel::policies() const {
  std::vector<LayerPolicies> layers;
  for (const Row &r : rows()) layers.push_back({r.k, r.v});
  return layers;
}

/// FP16 layers are left out, as a plan means them anyway; a plan of nothing else says so once.
PolicySpec PlanModel::plan() const {
  const std::vector<LayerPolicies> all = policies();
  if (all.empty()) return makePlan({{0, -1, {}, fp16()}});
  const PolicySpec whole = planOfLayers(all);
  std::vector<PlanEntry> entries;
  for (const PlanEntry &e : whole.entries())
    if (e.policy.method().name != "fp16") entries.push_back(e);
  if (entries.empty()) entries.push_back({0, -1, {}, fp16()});
  return makePlan(std::move(entries));
}

void PlanModel::takePolicies(std::vector<LayerPolicies> layers) {
  // Layers beyond the model's that say something stay: nothing is lost, and the problem says which they are.
  const auto wanted = static_cast<std::size_t>(m_shape.layers);
  while (layers.size() > wanted && layers.back().k.canonical() == "fp16" && layers.back().v.canonical() == "fp16")
    layers.pop_back();
  layers.resize(std::max(layers.size(), wanted), {fp16(), fp16()});
  std::vector<Row> rows;
  for (std::size_t i = 0; i < layers.size(); ++i)
    rows.push_back({static_cast<int>(i), std::move(layers[i].k), std::move(layers[i].v), -1, 0, false});
  setRows(rows);
  m_problem.clear();
  m_bytes = {};
  m_relativeSize = 0;
  if (m_shape.layers == 0) return;
  try {
    const PolicySpec spec = plan();
    const CacheLayout layout = cacheLayout(spec, m_shape);
    m_bytes = footprint(spec, m_shape, m_tokens, m_state);
    m_relativeSize = xqs::relativeSize(spec, m_shape, m_tokens, m_state);
    const double fp16Bytes = static_cast<double>(fp16KvBytes(m_shape, m_tokens)) / static_cast<double>(m_shape.layers);
    for (Row &r : rows) {
      CacheLayout one;
      one.layers = {layout.layers[static_cast<std::size_t>(r.layer)]};
      r.formatBytes = footprint(one, m_tokens, {m_tokens, m_tokens, m_state}).formatBytes();
      r.relativeSize = static_cast<double>(r.formatBytes) / fp16Bytes;
      const auto chain = layerPlan(spec, m_shape, r.layer).chain;
      r.base = chain && chain->base;
    }
  } catch (const Error &error) {
    m_problem = fromStd(error.what());
    return;
  }
  setRows(std::move(rows));
}

} // namespace xqs
