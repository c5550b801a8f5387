// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "analysis/evidence.h"
#include "analysis/hardware.h"

#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

/// Which method wins bytes, quality and time on one machine, model, context and batch: from what was measured there, else
/// predicted, and every figure says which.
namespace xqs {

struct StepPrediction;

/// How long a step takes.
struct StepTime {
  double seconds = 0; ///< NaN: caches do not fit, and the rate from the host is not known
  Basis basis = Basis::Predicted;
  double predicted = 0; ///< seconds, also where the step was measured
  /// What does not fit into the device's memory is copied from the host's in each step; measured: all caches were there.
  bool inHost = false;
  double low = std::nan(""), high = std::nan(""); ///< quartiles of a measured step
};

/// For comparisons: a time that is not known is behind every other.
inline double orLast(double seconds) { return std::isnan(seconds) ? std::numeric_limits<double>::infinity() : seconds; }

/// Measured where both are.
inline Basis ratioBasis(const StepTime &a, const StepTime &b) {
  return a.basis == Basis::Measured && b.basis == Basis::Measured ? Basis::Measured : Basis::Predicted;
}
/// a over b. A measured step is not divided by a predicted one, which knows no overhead: then both are the predicted ones.
inline double ratioOf(const StepTime &a, const StepTime &b) {
  return ratioBasis(a, b) == Basis::Measured ? a.seconds / b.seconds : a.predicted / b.predicted;
}

/// One policy at one point. `ratio...`: over FP16 KV's at the same point.
struct VerdictRow {
  std::string policy, method; ///< canonical; "xquant"
  std::string name;           ///< for sentences: "XQuant 2 bits"
  double cacheBytes = 0;      ///< stored for one sequence, counted
  double bytesRatio = 1;
  Quality quality;
  bool front = false; ///< no policy whose quality is comparable is as small and better, or smaller and as good
  StepTime time;
  double timeRatio = 1;
  Basis timeRatioBasis = Basis::Predicted; ///< Measured where both times are
  double hiddenRatio = 1;                  ///< of predicted steps: with rebuilding hidden under the loading of weights
  bool rebuilds = false;                   ///< K or V come back through products with matrices
  double movedBytes = 0;                   ///< by a step, everything
  Basis movedBasis = Basis::Counted;       ///< Measured: by hardware counters
  double memoryBytes = 0;                  ///< weights, maps and caches, counted
  std::optional<bool> fits;                ///< none where the machine's memory is not known
  std::string sentence() const;            ///< "XQuant 2 bits stores 0.08 of FP16's bytes and takes ..."
};

/// Measured steps over predicted ones, wherever a profile has both: how far predictions for other points can be trusted.
struct PredictionCheck {
  std::int64_t points = 0;    ///< 0: nothing was measured
  double least = 1, most = 1; ///< measured / predicted
};

struct Verdict {
  std::int64_t context = 0, batch = 0;
  std::vector<VerdictRow> rows;          ///< FP16 KV first, then in the order given
  std::size_t smallest = 0, fastest = 0; ///< rows
  PredictionCheck check;
  std::vector<std::string> sentences; ///< for a person: bytes, quality, time, what rebuilding costs
};

/// One cell of the map over contexts and batches.
struct VerdictCell {
  std::int64_t context = 0, batch = 0;
  std::vector<StepTime> times;                  ///< of each policy
  std::optional<std::size_t> fastest;           ///< of all
  std::optional<std::size_t> fastestRebuilding; ///< of those that rebuild K or V; none where there are none
  double ratio(std::size_t policy) const { return ratioOf(times[policy], times.front()); }
  Basis ratioBasis(std::size_t policy) const { return xqs::ratioBasis(times[policy], times.front()); }
};

/// Verdicts on one machine and model.
class Judge {
public:
  /// FP16 KV is put in front where it is not among the policies. Steps of `evidence` count where `hardware` is measured:
  /// they were measured on it. Throws Usage where a policy cannot be understood or does not fit the model.
  Judge(Hardware hardware, ModelSize model, const std::vector<std::string> &policies, Evidence evidence = {});
  Judge(Judge &&) noexcept;
  ~Judge();

  const Hardware &hardware() const;
  const ModelSize &model() const;
  const std::vector<std::string> &policies() const; ///< canonical
  Verdict at(std::int64_t context, std::int64_t batch) const;
  /// Row by row: all contexts of the first batch, then of the next.
  std::vector<VerdictCell> map(std::span<const std::int64_t> contexts, std::span<const std::int64_t> batches) const;
  StepPrediction predict(std::size_t policy, std::int64_t context, std::int64_t batch) const; ///< analysis/system_model.h

private:
  struct Impl;
  std::unique_ptr<Impl> m_impl;
};

/// What is compared where nobody says what: FP16 KV, KIVI* and both XQuants at their usual widths.
std::vector<std::string> usualPolicies();
/// Those that can be parsed and that fit a model, in order.
std::vector<std::string> fittingPolicies(std::span<const std::string> policies, const ModelSize &model);

/// What the paper's formulas say of a width on a machine, in tokens: PaperFormulas::longestContext.
struct ContextLimit {
  int bits = 0;
  double printed = 0, bothLatents = 0; ///< of MHA models the same
};
std::vector<ContextLimit> contextLimits(const ModelSize &model, const Hardware &hardware);

/// The map's axes: powers of two, 1 k to 256 k tokens, 1 to 64 sequences.
std::vector<std::int64_t> mapContexts();
std::vector<std::int64_t> mapBatches();

} // namespace xqs
