// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sensitivity.h"

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace xqs {

/// The ways to store a layer that a matrix knows: every setting that was measured in every layer, K and V apart where they
/// were measured apart, and FP16. xquant-cl takes two settings, a base and deltas, of the same chain.
class LayerOptions {
public:
  struct Option {
    LayerPolicies policies;
    std::int64_t bits = 0;     ///< format bits of a window
    std::vector<double> extra; ///< nats a token that it adds by itself, one a window of the matrix
    double meanExtra = 0;
    bool possible = true; ///< layer 0 has no delta
    int chain = 0;        ///< see BudgetOption
    bool continues = false;
  };

  explicit LayerOptions(const SensitivityMatrix &matrix);

  const ModelShape &shape() const { return m_shape; }
  std::size_t layers() const { return static_cast<std::size_t>(m_shape.layers); }
  std::size_t count() const { return m_options.size(); }
  /// Option 0 is FP16.
  const Option &of(std::size_t layer, std::size_t index) const { return m_options[index][layer]; }
  double bytesPerToken(std::int64_t bits) const { return static_cast<double>(bits) / 8 / static_cast<double>(m_window); }
  std::int64_t bits(double bytesPerToken) const; ///< of a window, to the nearest
  std::size_t windows() const { return m_fp16.size(); }
  double fp16Kl() const; ///< 0 where it was not measured

  /// The option that a policy follows in a layer; none where the matrix lacks it.
  std::optional<std::size_t> indexOf(const PolicySpec &policy, Index layer) const;
  /// Settings that were left out because a layer is not measured.
  const std::vector<std::string> &leftOut() const { return m_leftOut; }

private:
  /// A setting's way to store one side of a layer, or both; no cells: FP16.
  struct Part {
    PolicySpec policy;
    std::vector<SensitivityCell> cells;
  };
  using Names = std::pair<std::string, std::string>; ///< of K's policy and V's

  void add(const Part &k, const Part *v);
  int chainOf(const PolicySpec &policy);

  ModelShape m_shape;
  Index m_window = 0;                         ///< tokens
  const char *m_autoSource;                   ///< what source=auto is on this model
  std::vector<double> m_fp16;                 ///< KL, one a window
  std::vector<std::vector<Option>> m_options; ///< [option][layer]
  std::map<Names, std::size_t> m_byNames;     ///< into m_options
  std::vector<PolicySpec> m_chains;           ///< chain i + 1
  std::vector<std::string> m_leftOut;
};

} // namespace xqs
