// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "store/records.h"

#include <optional>
#include <vector>

namespace xqs {

/// One column of a side-by-side generation: what its rows say together.
struct GenerationColumn {
  std::int64_t policy = -1;                 ///< index; -1: the exact model
  std::vector<const GeneratedRow *> tokens; ///< in order; into the rows that were given
  /// Step of the first token that is not the exact model's; none where all are so far.
  std::optional<std::int64_t> divergence;
  bool noiseMeasured = false;
  /// Step of the first token at which this policy, its embedded rows perturbed, parts from its own text: what divergences
  /// from there on mean nothing but rounding. None: no token did.
  std::optional<std::int64_t> noise;
  bool withinNoise = false;     ///< the divergence lies at or behind the noise floor: it may be rounding alone
  bool ended = false;           ///< by itself
  double tokensPerSecond = 0;   ///< with all columns advancing together; NaN below two tokens
  double fp16BytesPerToken = 0; ///< of the model's own FP16 KV; NaN where that is not known
  double relativeSize = 0;      ///< cache bytes over FP16 KV of as many tokens; NaN likewise
};

/// The columns of one run, the exact model's first, then by index, a column without tokens for every policy that has none
/// yet. `rows` and `policies` are of that run.
std::vector<GenerationColumn> generationColumns(const std::vector<GeneratedRow> &rows,
                                                const std::vector<PolicyRow> &policies);

} // namespace xqs
