// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "traffic.h"

#include <string>
#include <vector>

/// The report of a run of kind "profile": bandwidth saved against rebuild cost. HTML fragments; empty without points. Every
/// figure of bytes says whether it is counted or measured.
namespace xqs {

/// The rows of one run.
struct ProfileRows {
  RunRow run;
  std::vector<PolicyRow> policies;
  std::vector<StepRow> steps;
  std::vector<TrafficRow> traffic;
  std::vector<InstrumentRow> instruments;
  std::vector<PeakRow> peaks;
};

/// Cache bytes beside FP16's (counted, logarithmic) against the time of a step beside FP16's (logarithmic): a colour a
/// method, a shape a context and batch, the width in the marker; the line is FP16's time.
std::string tradeChart(const std::vector<TradePoint> &points);
/// Every point: time, bytes counted and measured, work and time beyond FP16's.
std::string tradeTable(const std::vector<TradePoint> &points);
/// Parts of a step at the longest context: time, bytes counted, and measured where they are.
std::string partsTable(const std::vector<TradePoint> &points, const std::vector<TrafficRow> &traffic);
/// Bytes of each layer there, folded away.
std::string layersTable(const std::vector<TradePoint> &points, const std::vector<TrafficRow> &traffic);
/// What each instrument could do, said by itself, and what it costs a step.
std::string instrumentsTable(const ProfileRows &rows);
/// The verdict in sentences, from the steps that were measured.
std::string verdictList(const ProfileRows &rows);
std::string peaksTable(const std::vector<PeakRow> &peaks);
/// All of it.
std::string profileSection(const ProfileRows &rows);

} // namespace xqs
