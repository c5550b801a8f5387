// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "analysis/verdict.h"

namespace xqs {

/// A verdict in sentences: who stores least, whose quality is worth the bytes, who is fastest, what does not fit, and what
/// rebuilding costs or saves. Every figure says where it comes from. What precedes a sentence's first colon is its headline.
std::vector<std::string> verdictSentences(const Verdict &verdict, const Hardware &hardware);

/// "XQuant 2 bits", "KIVI* 4 bits (group=64)".
std::string policyName(const std::string &policy);

/// What a machine is: rates, memory, ridge point, source.
std::string hardwareSentence(const Hardware &hardware);
/// The paper's longest contexts, both readings where they differ.
std::string contextSentence(const ModelSize &model, const Hardware &hardware);

/// "40.6k", "920": tokens.
std::string tokensText(double tokens);
/// "624 MiB", as the window writes sizes.
std::string bytesText(double bytes);
/// "5.13 ms".
std::string secondsText(double seconds);
/// "0.076", "0.62", "1.38", "13": a figure over FP16's.
std::string ratioText(double ratio);

} // namespace xqs
