// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "store/run_store.h"
#include "token_statistics.h"

#include <map>
#include <string>
#include <vector>

/// The tables of the report beside quality and ledger, each an HTML fragment; empty where there is nothing to show.
namespace xqs {

/// What the positions of one policy of one run say, pooled over its windows.
struct PolicyStatistics {
  RowId run = 0;
  std::int64_t policy = 0;
  TokenStatistics tokens;
};
/// Of every policy that has positions beside the exact model's; holds the positions of one run at a time.
std::vector<PolicyStatistics> readStatistics(RunReader &reader);

/// A policy string in a table cell that may break after its colon and commas.
std::string policyCell(const std::string &policy);

/// KL, its tail, top-1 agreement and the change of the next token's probability, as llama-perplexity prints them.
std::string statisticsTable(const std::vector<PolicyRow> &policies, const std::vector<PolicyStatistics> &statistics);
/// How far each policy's figures move without a cause.
std::string noiseTable(const std::vector<PolicyRow> &policies, const std::vector<NoiseRow> &noise);
/// Cache bytes that need not be read against counted work of projecting, packing, rebuilding and attending, a token.
std::string workTable(const RunRow &run, const std::vector<PolicyRow> &policies,
                      const std::vector<OperationRow> &operations);
/// Texts side by side with their divergences; of a run of kind "generate".
std::string generationTable(const std::vector<PolicyRow> &policies, const std::vector<GeneratedRow> &rows);
/// The command that repeats such a run; empty where its spec cannot be read.
std::string generationCommand(const RunRow &run);
/// One word for a shell.
std::string quotedForShell(const std::string &text);
/// Commands for a shell that repeat the run.
std::string repeatCommands(const RunRow &run);
/// Every window under every policy as CSV.
std::string dataTable(const std::vector<PolicyRow> &policies, const std::vector<WindowRow> &windows);

} // namespace xqs
