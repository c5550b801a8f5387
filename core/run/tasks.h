// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model/tokenizer.h"

#include "tensor.h"

namespace xqs {

/// Repeated random tokens: w ++ w. Nothing but the first copy tells what the second one is, so the loss on it measures what
/// comes back out of the cache `distance` tokens later.
struct CopyTask {
  std::vector<TokenId> tokens; ///< a BOS where the vocabulary asks for one, w, w
  Index distance = 0;          ///< |w|
  /// Scored are the tokens from here to the end: the second copy without its first token, which nothing foretells.
  Index firstScored = 0;
};

/// w: `distance` Normal tokens of the vocabulary, drawn independently; the same for the same vocabulary, distance, seed
/// of the series and trial.
/// Throws Usage where distance < 2, Unsupported where the vocabulary has no Normal tokens.
CopyTask makeCopyTask(const Tokenizer &tokenizer, Index distance, std::uint64_t seed, std::uint64_t trial = 0);

struct PasskeySettings {
  Index tokens = 0;   ///< of the prompt: reached exactly or missed by less than one filler sentence
  double depth = 0.5; ///< where in the filler the key is said: 0 right after the introduction, 1 right before the question
  std::uint64_t seed = 1; ///< of the series of trials
  std::uint64_t trial = 0;
};

/// A key said once in a long text of filler sentences and asked for at its end: the passkey test of arXiv 2305.16300,
/// sec. 4.2 (KVQuant and KIVI use it too). A model passes where its greedy continuation begins with the answer.
struct PasskeyTask {
  std::vector<TokenId> prompt; ///< a BOS where the vocabulary asks for one
  std::vector<TokenId> answer; ///< the ids that continue the prompt with the key
  std::string key;             ///< five digits
  Index keyAt = 0;             ///< prompt tokens before the sentence that says the key
};

/// Throws Usage where depth is not in [0, 1] or the prompt does not fit into `tokens` even without filler, Unsupported where
/// the tokenizer joins the question's last word with the answer.
PasskeyTask makePasskeyTask(const Tokenizer &tokenizer, const PasskeySettings &settings);

} // namespace xqs
