// SPDX-License-Identifier: Apache-2.0
#include "roofline.h"

#include "system_model.h"
#include "traffic.h"

#include <set>

namespace xqs {
namespace {

/// Bytes that counters saw, else those counted.
void takeBytes(RooflinePoint &point, double counted, double measured) {
  point.bytes = std::isfinite(measured) ? measured : counted;
  point.bytesBasis = std::isfinite(measured) ? Basis::Measured : Basis::Counted;
}

std::string nameOf(const RunRows &run, std::int64_t policy) {
  for (const PolicyRow &row : run.policies)
    if (row.index == policy) return row.policy;
  return {};
}

std::vector<RooflinePoint> stepPoints(const RunRows &run) {
  std::vector<RooflinePoint> points;
  for (const StepRow &row : run.steps) {
    RooflinePoint p{nameOf(run, row.policy), row.context, row.batch, row.countedFlops, 0, row.seconds, Basis::Measured};
    takeBytes(p, row.countedBytes, row.measuredRead + row.measuredWrite);
    points.push_back(std::move(p));
  }
  return points;
}

std::vector<RooflinePoint> attentionPoints(const RunRows &run) {
  std::set<ProfileKey> keys;
  for (const TrafficRow &row : run.traffic) keys.insert(profileKey(row));
  std::vector<RooflinePoint> points;
  for (const ProfileKey &key : keys) {
    const TrafficSum sum = cacheTraffic(run.traffic, key);
    RooflinePoint p{nameOf(run, key.policy), key.context, key.batch, sum.countedFlops, 0, sum.seconds, Basis::Measured};
    takeBytes(p, sum.countedBytes, sum.measuredBytes());
    points.push_back(std::move(p));
  }
  return points;
}

bool canBeDrawn(const RooflinePoint &p) { return !p.policy.empty() && p.flops > 0 && p.bytes > 0 && p.seconds > 0; }

} // namespace

std::vector<RooflinePoint> predictedPoints(const Judge &judge, RooflineScope scope, std::int64_t context,
                                           std::int64_t batch) {
  std::vector<RooflinePoint> points;
  for (std::size_t i = 0; i < judge.policies().size(); ++i) {
    const StepPrediction step = judge.predict(i, context, batch);
    RooflinePoint p;
    p.policy = judge.policies()[i], p.context = context, p.batch = batch;
    const bool whole = scope == RooflineScope::Step;
    p.flops = whole ? step.flops() : step.cache.flops();
    p.bytes = whole ? step.bytes() : step.cache.bytes();
    p.seconds = whole ? step.seconds : step.cacheSeconds;
    points.push_back(std::move(p));
  }
  return points;
}

std::vector<RooflinePoint> measuredPoints(const RunRows &run, RooflineScope scope) {
  std::vector<RooflinePoint> points = scope == RooflineScope::Step ? stepPoints(run) : attentionPoints(run);
  std::erase_if(points, [](const RooflinePoint &p) { return !canBeDrawn(p); });
  return points;
}

} // namespace xqs
