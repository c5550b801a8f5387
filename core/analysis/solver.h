// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "budget.h"
#include "layer_options.h"

#include <optional>
#include <span>
#include <string>
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
/// FP16's own, fitted (least squares of logarithms) to the whole policies that were scored on the matrix's windows.
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

/// Chooses plans from the options of one matrix.
class BudgetSolver {
public:
  /// Throws Usage where no setting is measured in every layer.
  explicit BudgetSolver(const SensitivityMatrix &matrix);

  double leastBytes() const { return m_leastBytes; } ///< a token, all layers
  double mostBytes() const { return m_mostBytes; }   ///< FP16
  const Correction &correction() const { return m_correction; }
  /// Settings that were left out because a layer is not measured.
  const std::vector<std::string> &leftOut() const { return m_options.leftOut(); }

  /// The plan of least expected KL of at most that many bytes a token. Throws Usage, naming the possible range.
  SolvedPlan withinBytes(double bytesPerToken) const;
  /// The smallest plan of at most that expected KL. Throws Usage, naming the lowest possible.
  SolvedPlan withinKl(double nats) const;
  /// The policies of at most that many bytes that are the same in every layer, best expected KL first.
  std::vector<UniformPolicy> uniformsWithin(double bytesPerToken) const;
  /// None where a layer follows a setting that the matrix lacks.
  std::optional<Prediction> predict(const PolicySpec &policy) const;

private:
  /// The knapsack's options of each layer, and which option each stands for.
  struct Choices {
    std::vector<std::vector<BudgetOption>> layers;
    std::vector<std::vector<std::size_t>> options;
  };
  Choices choices() const;
  void fitCorrection(const SensitivityMatrix &matrix);
  Prediction predict(std::span<const std::size_t> options) const; ///< one a layer
  SolvedPlan planOf(const Choices &choices, const BudgetPlan &chosen) const;
  /// The same in every layer: an option, or each base with the delta `index` behind it.
  std::vector<UniformPolicy> uniformsOf(std::size_t index) const;

  LayerOptions m_options;
  Correction m_correction;
  double m_leastBytes = 0, m_mostBytes = 0, m_leastKl = 0;
};

} // namespace xqs
