// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "instruments.h"
#include "store/records.h"

#include <cstdint>
#include <span>
#include <vector>

/// What instruments say, as rows of a profile. Pure functions.
namespace xqs {

/// Whose rows they are: one point of a run.
struct PointKey {
  RowId run = 0;
  std::int64_t policy = 0, context = 0, batch = 1;
  template <class Row> Row row() const {
    Row row;
    row.run = run, row.policy = policy, row.context = context, row.batch = batch;
    return row;
  }
};

/// A row a launch; times count from the first one's start.
std::vector<KernelRow> kernelRows(const PointKey &key, std::span<const KernelRecord> records);

/// Sums of a timeline: a row for every layer and part, and one with part "" for everything of each layer; by layer, then in
/// the order of the parts' first launches. Nothing is measured yet: NaN.
std::vector<TrafficRow> trafficRows(const PointKey &key, std::span<const KernelRecord> records);

/// What hardware counted, added to rows of the same step: ranges of one layer and part are summed, those of a layer are the
/// row with part "". Of ranges without a part (RangeBy::Layer) only that row is told. A range that the timeline does not
/// know has a row of its own, with counted figures of 0; without a timeline (no rows) nobody has counted: NaN.
void addCounted(std::vector<TrafficRow> &rows, const PointKey &key, std::span<const RangeRecord> ranges);
/// The hit rates of such ranges: means, weighted with the accesses of each range in `weights`, where they are ranges of the
/// same step, else evenly.
void addHitRates(std::vector<TrafficRow> &rows, std::span<const RangeRecord> ranges, std::span<const RangeRecord> weights);

/// Bytes of a whole step, read and written; NaN where a range has none, or there is no range.
struct StepBytes {
  double read = kNotMeasured, write = kNotMeasured;
};
StepBytes stepBytes(std::span<const RangeRecord> ranges);

/// Samples as rates: one row for a stretch of equal intervals without a gap. Times count from `firstNs`.
std::vector<ThroughputRow> throughputRows(const PointKey &key, std::span<const ThroughputSample> samples,
                                          std::int64_t firstNs);

InstrumentRow instrumentRow(RowId run, const InstrumentStatus &status, std::int64_t dropped);

} // namespace xqs
