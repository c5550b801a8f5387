// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "store/run_store.h"

#include <QTemporaryDir>

#include <string>
#include <vector>

namespace xqs::test {

/// What a store of a sample run holds; figures are made up but of the size that SmolLM2 shows (30 layers, base ppl 13).
struct SampleOptions {
  int layers = 30;
  int windows = 4;
  std::string title = "SmolLM2-135M · WikiText-2 · 4 x 512 · all";
  double scale = 1; ///< multiplies the damage of every policy
  bool captures = true;
  bool finished = true;
};

/// One policy as sampleRun writes it.
struct SamplePolicy {
  std::string policy;
  double relativeSize = 1, relativeSizeMha = 1;
  double ratio = 1; ///< ppl over the exact ppl
  double kl = 0;
};
/// 15 policies, sizes 0.13 to 1, ratios 1 to 3500.
const std::vector<SamplePolicy> &samplePolicies();

/// A store in a temporary folder, written through RunStore.
class SampleStore {
public:
  SampleStore();
  QString path() const;
  RowId addRun(const SampleOptions &options = {});
  /// A run of one layer at a time: K at three widths in every layer.
  RowId addSensitivity(int layers = 30);
  /// A preview run with one policy; its errors are `damage` times those of the run.
  RowId addPreview(const std::string &policy, double damage = 0.5);
  /// A generation of the exact model and two policies: the second one parts at `divergence`, with a noise floor two tokens
  /// later. Token i is the text "w<i> ".
  RowId addGeneration(int tokens = 12, int divergence = 4, bool finished = true);
  void addTokens(RowId run, int from, int to, int divergence);
  RunStore &store() { return m_store; }

private:
  QTemporaryDir m_folder;
  RunStore m_store;
};

} // namespace xqs::test
