// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gguf_file.h"
#include "tokenizer.h"

#include <memory>

namespace xqs {

/// The tokenizer that a GGUF file describes: `tokenizer.ggml.model` and `.pre` select it. Throws Unsupported naming those
/// that are not known, BadFile where the vocabulary is inconsistent.
std::shared_ptr<const Tokenizer> openGgufTokenizer(const GgufFile &file);

} // namespace xqs
