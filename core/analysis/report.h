// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "published.h"
#include "report_tables.h"
#include "store/run_store.h"
#include "traffic.h"

#include <map>

/// One self-contained HTML page of a store: no scripts, no external references, light and dark.
namespace xqs {

/// What a report is made from: all rows of a store but distributions, single launches and samples, and positions as
/// statistics.
struct ReportRows {
  std::string file; ///< name, for the title
  std::vector<RunRow> runs;
  std::vector<RunEndRow> ends;
  std::vector<PolicyRow> policies;
  std::vector<WindowRow> windows;
  std::vector<LayerErrorRow> layerErrors;
  std::vector<SimilarityRow> similarities;
  std::vector<ProblemRow> problems;
  std::vector<LogRow> logs;
  std::vector<NoiseRow> noise;
  std::vector<OperationRow> operations;
  std::vector<GeneratedRow> generated;
  std::vector<StepRow> steps;
  std::vector<TrafficRow> traffic;
  std::vector<InstrumentRow> instruments;
  std::vector<PeakRow> peaks;
  std::vector<PolicyStatistics> statistics;
  std::map<RowId, SampledTraffic> sampled; ///< of generations
  std::vector<RowId> crashed;              ///< runs without an end that nobody writes
};

/// Throws what RunReader throws.
ReportRows readReportRows(RunReader &reader);

/// The page as UTF-8: for each run what was measured and how, texts that were generated, what decoding
/// moved and how long it took, the curve of cache size against
/// quality, KL statistics, noise floor, similarity of layers, errors by layer, the ledger, bytes against work, what it takes
/// to repeat it, data, problems and log. Pure; parts without rows are left out.
std::string htmlReport(const ReportRows &rows, const std::vector<PublishedRow> &published);

} // namespace xqs
