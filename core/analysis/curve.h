// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "statistics.h"
#include "store/records.h"

/// Cache size against quality: what the rows of a run say about each policy.
namespace xqs {

/// One policy of one run. Every figure is over `windows`: those that were scored under both the policy and the exact model.
struct CurvePoint {
  RowId run = 0;
  std::int64_t policyIndex = 0;
  std::string policy; ///< canonical string
  std::string method;
  double relativeSize = 0, relativeSizeMha = 0; ///< cache bytes / FP16 KV bytes; as if the model were MHA
  double bitsPerElement = 0;
  std::vector<std::int64_t> windows; ///< ascending
  double ppl = 0, exactPpl = 0;      ///< exp(mean of the windows' mean NLL); NaN without windows
  Estimate nllDifference;            ///< nats a token: policy - exact, paired by window (baselines.md 14)
  Estimate ratio;                    ///< ppl / exactPpl with its interval: exp of the above
  Estimate kl;                       ///< nats a token, mean of the windows' mean KL(exact || policy)
  double top1 = 0;                   ///< share of positions whose argmax agrees, mean of windows
};

/// Points in the order of `policies`. A window recorded twice counts once, the later row. Windows of other runs are ignored.
std::vector<CurvePoint> curvePoints(const std::vector<PolicyRow> &policies, const std::vector<WindowRow> &windows);

/// The parts of a canonical policy string after its method: the width of its codes, and what tells series of one method
/// apart.
struct SeriesOf {
  std::string bits;     ///< "2"; empty where the policy names none
  std::string settings; ///< the others: "domain=residual, rotate=hadamard"
};
SeriesOf seriesOf(const std::string &policy);

/// "KIVI*", "XQuant-CL": a method's title in the registry; names that are not there as they are.
std::string methodTitle(const std::string &method);

} // namespace xqs
