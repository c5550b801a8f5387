// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/cache.h"
#include "model/model.h"

#include <span>
#include <stop_token>

namespace xqs {

constexpr Index kFillTokens = 512; ///< of one step; a cache's maxStep must be at least min(kFillTokens, tokens)

/// Gives empty caches, made alike by one method in State::Stream, `tokens` tokens without a forward pass: near-normal seeded
/// rows, the same in every layer and in every step of kFillTokens, are stored as a prefill stores its own. All caches then
/// hold the same; each in its own memory: the first is filled step by step, its bytes are copied into the others. Throws
/// Cancelled.
void fillCaches(const Model &model, std::span<Cache *const> caches, Index tokens, std::uint64_t seed,
                const std::stop_token &stop = {});

} // namespace xqs
