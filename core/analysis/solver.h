// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "budget.h"
#include "sensitivity.h"

#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

/// From a matrix of isolated sensitivity to a plan: which setting each layer gets under a limit of bytes or of KL, what that
/// is expected to cost, and whether it does.
namespace xqs {

/// What the matrix expects of a policy.
struct Prediction {
  double bytesPerToken = 0, relativeSize = 0; ///< format bytes, state `all`; over FP16 KV
  double sumKl = 0;                           ///< nats: FP16's KL and what each layer adds by itself (the separable model)
  Estimate kl; ///< nats: the same, corrected by `Correction`; the interval is that of the matrix's windows
};

/// Layers together cost another KL than the sum of what they cost alone: together = factor * sum ^ exponent, both without
/// FP16's own, fitted (least squares of logarithms) to the policies that the matrix's windows were scored under as a whole.
/// One such policy gives the factor alone; none leaves the sum as it is.
struct Correction {
  double factor = 1, exponent = 1;
  std::size_t policies = 0; ///< fitted to
  double typicalError = 0;  ///< root mean square of ln(measured / fitted); NaN where nothing is left to judge by
  double operator()(double sumNats) const; ///< a sum of at most 0 stays
  double inverse(double nats) const;
};

/// A plan that a budget chose.
struct SolvedPlan {
  struct Layer {
    LayerPolicies policies;
    double bytesPerToken = 0, extraKl = 0; ///< by itself, nats
  };
  PolicySpec plan;
  std::vector<Layer> layers;
  Prediction prediction;
};

/// A policy that is the same in every layer.
struct UniformPolicy {
  PolicySpec policy;
  Prediction prediction;
};

/// Chooses plans from one matrix: every setting that was measured in every layer, K and V apart where they were measured
/// apart, and FP16. xquant-cl is left out: what a delta costs depends on the layers below, which this model cannot say.
class BudgetSolver {
public:
  /// Throws Usage where no setting is left.
  explicit BudgetSolver(const SensitivityMatrix &matrix);

  double leastBytes() const { return m_leastBytes; } ///< a token, all layers
  double mostBytes() const { return m_mostBytes; }   ///< FP16
  double leastKl() const { return m_leastKl; }       ///< that any plan is expected to have
  const Correction &correction() const { return m_correction; }
  /// Settings that were left out.
  const std::vector<std::string> &leftOut() const { return m_leftOut; }

  /// The plan of least expected KL of at most that many bytes a token. Throws Usage, naming the possible range.
  SolvedPlan withinBytes(double bytesPerToken) const;
  /// The smallest plan of at most that expected KL. Throws Usage, naming the lowest possible.
  SolvedPlan withinKl(double nats) const;
  /// The policies of at most that many bytes that are the same in every layer, best expected KL first.
  std::vector<UniformPolicy> uniformsWithin(double bytesPerToken) const;
  /// None where a layer follows a setting that the matrix lacks.
  std::optional<Prediction> predict(const PolicySpec &policy) const;

private:
  /// One way to store a layer.
  struct Option {
    LayerPolicies policies;
    std::int64_t bits = 0;     ///< format bits of a window
    std::vector<double> extra; ///< nats a token that it adds by itself, one a window of the matrix
    double meanExtra = 0;
  };
  using Names = std::pair<std::string, std::string>; ///< K's policy, V's, as plans write them

  void addOptions(const SensitivityMatrix &matrix);
  void fitCorrection(const SensitivityMatrix &matrix);
  std::vector<std::vector<BudgetOption>> budgetLayers() const;
  const Option &option(std::size_t layer, std::size_t index) const { return m_options[index][layer]; }
  Prediction predict(std::span<const std::size_t> choice) const;
  SolvedPlan planOf(std::vector<std::size_t> choice) const;
  PolicySpec uniform(std::size_t index) const;

  ModelShape m_shape;
  Index m_window = 0;                         ///< tokens
  const char *m_autoSource;                   ///< what source=auto is on this model
  std::vector<double> m_fp16;                 ///< KL, one a window
  std::vector<std::vector<Option>> m_options; ///< [option][layer]; option 0 is FP16
  std::map<Names, std::size_t> m_byNames;     ///< into m_options
  std::vector<std::string> m_leftOut;
  Correction m_correction;
  double m_leastBytes = 0, m_mostBytes = 0, m_leastKl = 0;
};

} // namespace xqs
