// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/cache.h"
#include "run/tasks.h"

#include <functional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

namespace xqs {

/// What the tasks of `tasks.h` are run with, under several policies beside the exact model. Every cache is in state stream,
/// as when decoding.
struct TaskPlan {
  std::vector<Index> lengths; ///< copy: distances; passkey: tokens of the prompt
  std::vector<double> depths; ///< passkey only
  Index trials = 1;           ///< of each length (and depth)
  std::uint64_t seed = 1;
  std::stop_token stop = {};
  std::function<void(double fraction)> progress = {};
};

/// One distance of the copy task. A trial is one random text; its tokens are not independent of each other.
struct CopyResult {
  Index distance = 0;
  Index tokens = 0; ///< scored in a trial
  struct Lane {
    std::vector<double> nll;  ///< a trial: mean over its tokens, nats
    std::vector<Index> right; ///< a trial: tokens whose logit is the largest
  };
  Lane exact;
  std::vector<Lane> policies; ///< as `methods`
};
/// Teacher forcing over both copies. Throws Usage where a text is longer than the model's context, what makeCopyTask throws,
/// Cancelled.
std::vector<CopyResult> runCopyTask(const Model &model, std::span<const Method *const> methods, const TaskPlan &plan);

/// One length and depth of the passkey task. Policies are asked only where the exact model finds the key.
struct PasskeyResult {
  Index tokens = 0;
  double depth = 0;
  Index trials = 0, exact = 0; ///< asked, and found by the exact model
  std::vector<Index> policies; ///< found, of those that the exact model finds
};
/// Greedy decoding of as many tokens as the answer has. Throws Usage where prompt and answer are longer than the model's
/// context, what makePasskeyTask throws, Cancelled.
std::vector<PasskeyResult> runPasskeyTask(const Model &model, std::span<const Method *const> methods, const TaskPlan &plan);

} // namespace xqs
