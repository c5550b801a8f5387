// SPDX-License-Identifier: Apache-2.0
// Keys: ggml docs/gguf.md, section "Tokenizer".
#include "gguf_tokenizer.h"

#include "bpe_tokenizer.h"
#include "spm_tokenizer.h"
#include "utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace xqs {
namespace {

constexpr const char *kConvert = "convert the model again with a current converter";

std::optional<TokenId> tokenId(const GgufFile &file, const char *key, std::size_t vocab) {
  const auto id = file.integer(key);
  if (!id) return std::nullopt;
  if (*id < 0 || static_cast<std::uint64_t>(*id) >= vocab)
    file.bad(fmt::format("metadata '{}' is {} in a vocabulary of {}", key, *id, vocab),
             file.values().find(key)->second.offset);
  return static_cast<TokenId>(*id);
}

Vocabulary readVocabulary(const GgufFile &file, bool addBos) {
  Vocabulary v;
  for (const std::string_view token : file.strings("tokenizer.ggml.tokens")) v.tokens.emplace_back(token);
  const std::size_t size = v.tokens.size();
  if (size == 0 || size > (std::size_t{1} << 24))
    file.bad(fmt::format("the vocabulary has {} tokens ('tokenizer.ggml.tokens')", size), 0, kConvert);
  for (const std::int32_t type : file.integers("tokenizer.ggml.token_type")) {
    if (type < 1 || type > 6) file.bad(fmt::format("token {} has the unknown type {}", v.types.size(), type), 0, kConvert);
    v.types.push_back(static_cast<TokenType>(type));
  }
  if (v.types.empty()) v.types.assign(size, TokenType::Normal);
  if (v.types.size() != size)
    file.bad(fmt::format("{} token types for {} tokens ('tokenizer.ggml.token_type')", v.types.size(), size), 0, kConvert);
  v.unknown = tokenId(file, "tokenizer.ggml.unknown_token_id", size);
  if (!v.unknown)
    if (const auto it = std::ranges::find(v.types, TokenType::Unknown); it != v.types.end())
      v.unknown = static_cast<TokenId>(it - v.types.begin());
  v.bos = tokenId(file, "tokenizer.ggml.bos_token_id", size);
  v.eos = tokenId(file, "tokenizer.ggml.eos_token_id", size);
  v.eot = tokenId(file, "tokenizer.ggml.eot_token_id", size);
  v.addBos = file.boolean("tokenizer.ggml.add_bos_token").value_or(addBos);
  if (v.addBos && !v.bos) file.bad("a BOS is asked for and metadata 'tokenizer.ggml.bos_token_id' is missing", 0, kConvert);
  return v;
}

std::shared_ptr<const Tokenizer> openBpe(const GgufFile &file) {
  const std::string_view pre = file.string("tokenizer.ggml.pre").value_or("");
  const PreTokenizerSpec *spec = findPreTokenizer(pre);
  if (spec == nullptr) {
    std::string known;
    for (const PreTokenizerSpec &entry : preTokenizers()) known += fmt::format("{}{}", known.empty() ? "" : " ", entry.keys);
    file.unsupported("the pre-tokenizer '" + printable(pre) + "' ('tokenizer.ggml.pre') is not known",
                     "use a model with one of: " + known);
  }
  Vocabulary vocabulary = readVocabulary(file, spec->addBos);
  return std::make_shared<BpeTokenizer>(*spec, std::move(vocabulary), file.strings("tokenizer.ggml.merges"));
}

std::shared_ptr<const Tokenizer> openSpm(const GgufFile &file) {
  Vocabulary vocabulary = readVocabulary(file, true);
  vocabulary.scores = file.floats("tokenizer.ggml.scores");
  if (vocabulary.scores.size() != vocabulary.tokens.size())
    file.bad(
        fmt::format("{} scores for {} tokens ('tokenizer.ggml.scores')", vocabulary.scores.size(), vocabulary.tokens.size()),
        0, kConvert);
  for (std::size_t i = 0; i < vocabulary.scores.size(); ++i)
    if (std::isnan(vocabulary.scores[i])) file.bad(fmt::format("the score of token {} is not a number", i), 0, kConvert);
  return std::make_shared<SpmTokenizer>(std::move(vocabulary),
                                        file.boolean("tokenizer.ggml.add_space_prefix").value_or(true));
}

} // namespace

std::shared_ptr<const Tokenizer> openGgufTokenizer(const GgufFile &file) {
  const auto model = file.string("tokenizer.ggml.model");
  if (!model) file.bad("metadata 'tokenizer.ggml.model' is missing", 0, "use a file that holds its tokenizer");
  if (*model != "gpt2" && *model != "llama")
    file.unsupported("the tokenizer '" + printable(*model) + "' ('tokenizer.ggml.model') is not known",
                     "use a model with a byte-level BPE ('gpt2') or a SentencePiece ('llama') tokenizer");
  try {
    return *model == "gpt2" ? openBpe(file) : openSpm(file);
  } catch (const Error &error) {
    // The tokenizers know no file; what they find wrong is wrong in this one.
    if (std::string_view(error.what()).starts_with(file.path())) throw;
    const auto list = file.values().find("tokenizer.ggml.tokens");
    file.bad(error.what(), list == file.values().end() ? 0 : list->second.offset, kConvert);
  }
}

} // namespace xqs
