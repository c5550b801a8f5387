// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace xqs {

/// How text is cut into words before byte-pair encoding.
struct PreTokenizerSpec {
  const char *name;         ///< of the tokenizer, for people
  std::string_view keys;    ///< values of `tokenizer.ggml.pre` that mean it, separated by spaces
  const char *firstPattern; ///< PCRE2; null, or applied first: its matches and what lies between are cut again, each alone
  const char *pattern;      ///< PCRE2
  bool wholeWords;          ///< a word that is a token is not merged up from bytes (Hugging Face: ignore_merges)
  bool addBos;              ///< where the file does not say
  bool nfc;                 ///< text is brought to Unicode normalization form C before it is cut
};

std::span<const PreTokenizerSpec> preTokenizers();
/// Null where `key` is not known.
const PreTokenizerSpec *findPreTokenizer(std::string_view key);

/// Compiled patterns; immutable, shared by threads.
class PreTokenizer {
public:
  using Word = std::function<void(std::string_view)>;
  explicit PreTokenizer(const PreTokenizerSpec &spec);
  ~PreTokenizer();
  PreTokenizer(PreTokenizer &&) noexcept;

  const PreTokenizerSpec &spec() const { return *m_spec; }
  /// Calls `word` for consecutive pieces that together are `text`. A byte that is not UTF-8 is a word of its own; the text
  /// before and after it is cut as if it stood alone.
  void split(std::string_view text, const Word &word) const;

private:
  class Pattern;
  const PreTokenizerSpec *m_spec;
  std::vector<Pattern> m_patterns; ///< in the order of application
};

} // namespace xqs
