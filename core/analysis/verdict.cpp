// SPDX-License-Identifier: Apache-2.0
#include "verdict.h"

#include "cache/layout.h"
#include "curve.h"
#include "error.h"
#include "model/weights.h"
#include "system_model.h"
#include "verdict_text.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

namespace xqs {
namespace {

/// FP16 KV first, then the others, each once.
std::vector<PolicySpec> withBaseline(const std::vector<std::string> &texts) {
  std::vector<PolicySpec> policies = {PolicySpec::parse("fp16")};
  std::set<std::string> known = {policies.front().canonical()};
  for (const std::string &text : texts)
    if (PolicySpec policy = PolicySpec::parse(text); known.insert(policy.canonical()).second)
      policies.push_back(std::move(policy));
  return policies;
}

ModelShape shapeOf(const ModelSize &m) { return {m.layers, m.d, m.heads, m.kvHeads, m.dh}; }

ModelConfig configOf(const ModelSize &m) {
  ModelConfig config;
  config.name = m.name, config.shape = shapeOf(m), config.ffn = m.ffn, config.vocab = m.vocab;
  config.tiedOutput = m.tiedOutput;
  if (m.rope) config.ropeFrequency = ropeFrequencies(config.ropeBase, m.dh);
  return config;
}

/// Weights are FP16 on a GPU and FP32 on a CPU (Backend::weightType).
DType weightType(const Hardware &hardware) { return hardware.tileRows > 1 ? DType::F16 : DType::F32; }

/// Marks the front among the rows whose qualities may be compared: the largest such set, measured before published.
void markFront(std::vector<VerdictRow> &rows) {
  std::map<std::pair<Basis, std::string>, int> sets;
  for (const VerdictRow &row : rows)
    if (row.quality.basis != Basis::Unknown) ++sets[{row.quality.basis, row.quality.of}];
  const auto largest = std::ranges::max_element(
      sets, [](const auto &a, const auto &b) { return a.second < b.second; }); // equal: measured comes first
  if (largest == sets.end()) return;
  const auto comparable = [&](const VerdictRow &row) {
    return std::pair(row.quality.basis, row.quality.of) == largest->first;
  };
  for (VerdictRow &row : rows)
    row.front = comparable(row) && std::ranges::none_of(rows, [&](const VerdictRow &other) {
                  const double size = other.cacheBytes - row.cacheBytes,
                               damage = other.quality.damage() - row.quality.damage();
                  return comparable(other) && size <= 0 && damage <= 0 && (size < 0 || damage < 0);
                });
}

/// Order of times: a measured step is not compared with predicted ones, which know no overhead: those of another basis than
/// FP16's come last; of equally fast ones the smaller is first.
std::tuple<bool, double, double> costOf(const StepTime &time, const StepTime &fp16, double bytes) {
  return {time.basis != fp16.basis, orLast(time.seconds), bytes};
}

template <class Rows, class Value> std::size_t leastOf(const Rows &rows, Value value) {
  return static_cast<std::size_t>(std::ranges::min_element(rows, {}, value) - rows.begin());
}

} // namespace

struct Judge::Impl {
  Hardware hardware;
  ModelSize model;
  Evidence evidence;
  std::vector<std::string> policies;
  std::vector<std::string> methods;
  std::vector<StepModel> models;

  StepPrediction predict(std::size_t policy, Index context, Index batch) const {
    return models[policy].predict(hardware, context, batch);
  }
  const Evidence::Step *measured(std::size_t policy, Index context, Index batch) const {
    return hardware.measured ? evidence.stepOf(policies[policy], context, batch) : nullptr;
  }
  StepTime timeOf(const StepPrediction &step, const Evidence::Step *measuredStep) const;
  VerdictRow rowOf(std::size_t policy, Index context, Index batch) const;
  PredictionCheck check() const;
};

StepTime Judge::Impl::timeOf(const StepPrediction &step, const Evidence::Step *measuredStep) const {
  StepTime time{step.stepSeconds(), Basis::Predicted, step.stepSeconds(), !step.fits(hardware).value_or(true)};
  if (!measuredStep) return time;
  const StepRow &row = measuredStep->row;
  time.seconds = row.seconds, time.low = row.lowSeconds, time.high = row.highSeconds;
  time.basis = Basis::Measured, time.inHost = measuredStep->inHost;
  if (time.inHost) time.predicted = step.hostSeconds;
  return time;
}

VerdictRow Judge::Impl::rowOf(std::size_t policy, Index context, Index batch) const {
  const StepPrediction step = predict(policy, context, batch);
  const Evidence::Step *measuredStep = measured(policy, context, batch);
  VerdictRow row;
  row.policy = policies[policy], row.method = methods[policy], row.name = policyName(row.policy);
  row.cacheBytes =
      static_cast<double>(footprint(models[policy].layout(), context, {context, 1, State::Stream}).formatBytes());
  row.quality = evidence.qualityOf(row.policy);
  row.time = timeOf(step, measuredStep);
  row.hiddenRatio = step.hiddenStepSeconds(); // a ratio once FP16's is known
  row.rebuilds = step.cache.rebuildFlops > 0;
  row.movedBytes = step.bytes();
  if (measuredStep && std::isfinite(measuredStep->row.measuredRead + measuredStep->row.measuredWrite))
    row.movedBytes = measuredStep->row.measuredRead + measuredStep->row.measuredWrite, row.movedBasis = Basis::Measured;
  else if (measuredStep && measuredStep->row.countedBytes > 0) // of its operations: rebuilt rows in memory too
    row.movedBytes = measuredStep->row.countedBytes;
  row.memoryBytes = step.memoryBytes;
  // Measured on the device: they fitted. In the host's memory they may lie by choice.
  row.fits = measuredStep && !measuredStep->inHost ? std::optional(true) : step.fits(hardware);
  return row;
}

PredictionCheck Judge::Impl::check() const {
  PredictionCheck check;
  if (!hardware.measured) return check;
  for (const Evidence::Step &measuredStep : evidence.steps) {
    const auto policy = std::ranges::find(policies, measuredStep.policy);
    if (policy == policies.end()) continue;
    const StepRow &row = measuredStep.row;
    const StepPrediction step = predict(static_cast<std::size_t>(policy - policies.begin()), row.context, row.batch);
    const double ratio = row.seconds / (measuredStep.inHost ? step.hostSeconds : step.seconds);
    if (!std::isfinite(ratio)) continue;
    check.least = check.points == 0 ? ratio : std::min(check.least, ratio);
    check.most = check.points == 0 ? ratio : std::max(check.most, ratio);
    ++check.points;
  }
  return check;
}

Judge::Judge(Hardware hardware, ModelSize model, const std::vector<std::string> &policies, Evidence evidence)
    : m_impl(std::make_unique<Impl>()) {
  m_impl->hardware = std::move(hardware), m_impl->model = std::move(model), m_impl->evidence = std::move(evidence);
  const ModelConfig config = configOf(m_impl->model);
  for (const PolicySpec &policy : withBaseline(policies)) {
    m_impl->policies.push_back(policy.canonical()), m_impl->methods.push_back(policy.method().name);
    m_impl->models.emplace_back(policy, config, weightType(m_impl->hardware));
  }
}

Judge::Judge(Judge &&) noexcept = default;
Judge::~Judge() = default;
const Hardware &Judge::hardware() const { return m_impl->hardware; }
const ModelSize &Judge::model() const { return m_impl->model; }
const std::vector<std::string> &Judge::policies() const { return m_impl->policies; }
StepPrediction Judge::predict(std::size_t policy, Index context, Index batch) const {
  return m_impl->predict(policy, context, batch);
}

Verdict Judge::at(Index context, Index batch) const {
  Verdict verdict;
  verdict.context = context, verdict.batch = batch;
  for (std::size_t i = 0; i < policies().size(); ++i) verdict.rows.push_back(m_impl->rowOf(i, context, batch));
  const VerdictRow fp16 = verdict.rows.front();
  for (VerdictRow &row : verdict.rows) {
    row.bytesRatio = row.cacheBytes / fp16.cacheBytes;
    row.timeRatio = ratioOf(row.time, fp16.time);
    row.hiddenRatio /= predict(0, context, batch).stepSeconds();
    row.timeRatioBasis = ratioBasis(row.time, fp16.time);
  }
  markFront(verdict.rows);
  verdict.smallest = leastOf(verdict.rows, &VerdictRow::cacheBytes);
  verdict.fastest =
      leastOf(verdict.rows, [&](const VerdictRow &row) { return costOf(row.time, fp16.time, row.cacheBytes); });
  verdict.check = m_impl->check();
  verdict.sentences = verdictSentences(verdict, hardware());
  return verdict;
}

std::vector<VerdictCell> Judge::map(std::span<const Index> contexts, std::span<const Index> batches) const {
  std::vector<VerdictCell> cells;
  for (const Index batch : batches)
    for (const Index context : contexts) {
      VerdictCell &cell = cells.emplace_back();
      cell.context = context, cell.batch = batch;
      std::vector<double> bytes; // as fast: the smaller
      const auto isFaster = [&](std::size_t i, const std::optional<std::size_t> &best) {
        const auto cost = [&](std::size_t k) { return costOf(cell.times[k], cell.times.front(), bytes[k]); };
        return !best || cost(i) < cost(*best);
      };
      for (std::size_t i = 0; i < policies().size(); ++i) {
        const StepPrediction step = predict(i, context, batch);
        cell.times.push_back(m_impl->timeOf(step, m_impl->measured(i, context, batch)));
        bytes.push_back(step.cache.cacheBytes);
        if (isFaster(i, cell.fastest)) cell.fastest = i;
        if (step.cache.rebuildFlops > 0 && isFaster(i, cell.fastestRebuilding)) cell.fastestRebuilding = i;
      }
    }
  return cells;
}

std::vector<std::string> usualPolicies() {
  return {"fp16",          "kivi-star:bits=4", "kivi-star:bits=2", "xquant:bits=4",
          "xquant:bits=2", "xquant-cl:bits=3", "xquant-cl:bits=2"};
}

std::vector<std::string> fittingPolicies(std::span<const std::string> policies, const ModelSize &model) {
  std::vector<std::string> result;
  for (const std::string &text : policies) {
    try {
      const PolicySpec policy = PolicySpec::parse(text);
      cacheLayout(policy, shapeOf(model));
      result.push_back(policy.canonical());
    } catch (const Error &) { // of another model: not compared here
    }
  }
  return result;
}

std::vector<ContextLimit> contextLimits(const ModelSize &model, const Hardware &hardware) {
  const PaperFormulas paper(shapeOf(model));
  std::vector<ContextLimit> limits;
  for (const int bits : {2, 3, 4})
    limits.push_back({bits, paper.longestContext(bits, hardware.ridge(), PaperFormulas::GqaLine::Printed),
                      paper.longestContext(bits, hardware.ridge(), PaperFormulas::GqaLine::BothLatents)});
  return limits;
}

std::vector<Index> mapContexts() { return {1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144}; }
std::vector<Index> mapBatches() { return {1, 2, 4, 8, 16, 32, 64}; }

} // namespace xqs
