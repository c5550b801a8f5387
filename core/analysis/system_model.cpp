// SPDX-License-Identifier: Apache-2.0
#include "system_model.h"

#include "cache/layout.h"
#include "cache/work.h"
#include "model/weights.h"

#include <algorithm>
#include <limits>

namespace xqs {
namespace {

constexpr double LayerCost::*kParts[] = {&LayerCost::cacheBytes, &LayerCost::accumulatorBytes, &LayerCost::rebuildFlops,
                                         &LayerCost::attentionFlops, &LayerCost::tileFlops};

Index padded(Index rows, Index tile) { return (rows + tile - 1) / tile * tile; }

/// Products of attention's queries with a token's K or V of the layer: a KV head has its g query heads.
double perHead(const ModelShape &s, Index tile) {
  return 2.0 * static_cast<double>(padded(s.heads / s.kvHeads, tile) * s.dkv());
}

/// The same where all query heads share rows of `width` channels.
double shared(const ModelShape &s, Index width, Index tile) {
  return 2.0 * static_cast<double>(padded(s.heads, tile) * width);
}

double chainBytes(const ChainLink &link, const ModelShape &shape, Index tokens) {
  const Index moves = link.base ? 1 : 2; // a base is written; above it the sum is read and written
  return static_cast<double>(moves * tokens * link.accumulator.rowBytes(shape.d));
}

} // namespace

LayerCost layerCost(const LayerPlan &plan, const ModelShape &shape, Index tokens, RebuildForm form, Index tileRows) {
  LayerCost cost;
  for (const StoredTensor &t : plan.tensors)
    cost.cacheBytes +=
        static_cast<double>(formatBits(t.spec, tokens, t.spec.closedAt(tokens, State::Stream)).formatBits()) / 8;
  if (plan.chain) cost.accumulatorBytes = chainBytes(*plan.chain, shape, tokens);
  const RebuildWork work = rebuildWork(plan, shape);
  cost.rebuildFlops = 2.0 * static_cast<double>(work.delta);
  const auto add = [&](Index macs, bool absorbed) {
    const bool image = macs > 0;
    if (image && !absorbed) cost.rebuildFlops += 2.0 * static_cast<double>(macs);
    const auto attention = [&](Index tile) {
      return image && absorbed ? shared(shape, macs / shape.dkv(), tile) : perHead(shape, tile);
    };
    cost.attentionFlops += attention(1), cost.tileFlops += attention(tileRows);
  };
  add(work.k, form == RebuildForm::AbsorbedKv);
  add(work.v, form != RebuildForm::Rebuilt);
  for (double *flops : {&cost.rebuildFlops, &cost.attentionFlops, &cost.tileFlops}) *flops *= static_cast<double>(tokens);
  return cost;
}

double rooflineSeconds(const Hardware &hardware, double bytes, double flops) {
  return std::max(bytes / hardware.reachedMemoryRate(), flops / hardware.reachedMatrixRate());
}

std::optional<bool> StepPrediction::fits(const Hardware &hardware) const {
  if (hardware.memory <= 0) return std::nullopt;
  return memoryBytes <= hardware.usableMemory();
}

StepModel::StepModel(const PolicySpec &policy, const ModelConfig &config, DType weights)
    : m_config(config), m_weights(weights), m_layout(cacheLayout(policy, config.shape)),
      m_form(config.ropeFrequency.empty() ? RebuildForm::AbsorbedKv : RebuildForm::AbsorbedV) {
  for (Index layer = 0; layer < config.shape.layers; ++layer) m_plans.push_back(layerPlan(policy, config.shape, layer));
}

StepModel::Part StepModel::layerWeights(const LayerPlan &plan) const {
  const auto bytes = static_cast<double>(layerWeightBytes(m_config, m_weights));
  const double elements = bytes / static_cast<double>(sizeOf(m_weights)); // norms are too small to matter
  return {bytes + static_cast<double>(mapBytes(plan, m_config.shape)), 2 * elements};
}

/// Logits; of the embedding a step reads a row a sequence.
StepModel::Part StepModel::otherWeights() const {
  const auto elements = static_cast<double>(weightShape(m_config, Weight::Output).elements());
  return {elements * static_cast<double>(sizeOf(m_weights)), 2 * elements};
}

StepPrediction StepModel::predict(const Hardware &hardware, Index context, Index batch) const {
  StepPrediction step;
  const auto sequences = static_cast<double>(batch);
  double host = 0, maps = 0;
  for (const LayerPlan &plan : m_plans) {
    const Part weights = layerWeights(plan);
    LayerCost cost = layerCost(plan, m_config.shape, context, m_form, hardware.tileRows);
    for (const auto part : kParts) cost.*part *= sequences;
    const double reading = rooflineSeconds(hardware, cost.bytes(), cost.tensorFlops());
    const double serial = rooflineSeconds(hardware, weights.bytes, weights.flops * sequences) + reading;
    step.seconds += serial, step.cacheSeconds += reading;
    step.hiddenSeconds +=
        rooflineSeconds(hardware, weights.bytes + cost.bytes(), weights.flops * sequences + cost.tensorFlops());
    host += std::max(serial, cost.cacheBytes / hardware.reachedLinkRate());
    step.weightBytes += weights.bytes, step.weightFlops += weights.flops * sequences;
    for (const auto part : kParts) step.cache.*part += cost.*part;
    maps += static_cast<double>(mapBytes(plan, m_config.shape));
  }
  const Part other = otherWeights();
  const double logits = rooflineSeconds(hardware, other.bytes, other.flops * sequences);
  step.weightBytes += other.bytes, step.weightFlops += other.flops * sequences;
  step.seconds += logits, step.hiddenSeconds += logits;
  if (hardware.linkRate > 0) step.hostSeconds = host + logits;
  const CacheBytes cache = footprint(m_layout, context, {context, 1, State::Stream});
  const double allocated = sequences * static_cast<double>(cache.allocated);
  step.memoryBytes = static_cast<double>(weightBytes(m_config, m_weights)) + maps + allocated +
                     sequences * static_cast<double>(cache.accumulator + cache.scratch);
  if (!step.fits(hardware).value_or(true)) {
    const double beyond = std::min((step.memoryBytes - hardware.usableMemory()) / allocated, 1.0);
    step.spillSeconds = hardware.linkRate > 0 ? beyond * step.cache.cacheBytes / hardware.reachedLinkRate() : std::nan("");
  }
  return step;
}

PaperFormulas::PaperFormulas(const ModelShape &shape)
    : d(static_cast<double>(shape.d)), g(static_cast<double>(shape.heads) / static_cast<double>(shape.kvHeads)) {}

double PaperFormulas::longestContext(double e, double ridge, GqaLine line) const {
  const double bytes = mha() || line == GqaLine::BothLatents ? readBytes(1, e) : readBytes(1, e) / 2;
  const double perToken = rebuildFlops(1) - ridge * bytes;
  return perToken > 0 ? ridge * weightBytes() / perToken : std::numeric_limits<double>::infinity();
}

} // namespace xqs
