// SPDX-License-Identifier: Apache-2.0
#include "pre_tokenizer.h"

#include "error.h"
#include "utf8.h"

#include <fmt/format.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <string>

namespace xqs {
namespace {

// Sources: GPT-2's encoder.py; tokenizer.json of SmolLM2, Llama 3 and Qwen2.5.
constexpr const char *kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char *kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char *kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr PreTokenizerSpec kPreTokenizers[] = {
    {"gpt2", "gpt-2", nullptr, kGpt2, false, false, false},
    {"smollm", "smollm", R"(\p{N})", kGpt2, false, false, false},
    {"llama-bpe", "llama-bpe llama3 llama-v3", nullptr, kLlama3, true, true, false},
    {"qwen2", "qwen2 deepseek-r1-qwen", nullptr, kQwen2, false, false, true},
};

} // namespace

std::span<const PreTokenizerSpec> preTokenizers() { return kPreTokenizers; }

const PreTokenizerSpec *findPreTokenizer(std::string_view key) {
  if (key.empty() || key.find(' ') != std::string_view::npos) return nullptr;
  for (const PreTokenizerSpec &spec : kPreTokenizers)
    if ((" " + std::string(spec.keys) + " ").find(" " + std::string(key) + " ") != std::string::npos) return &spec;
  return nullptr;
}

/// One compiled pattern, its matches consecutive.
class PreTokenizer::Pattern {
public:
  explicit Pattern(const char *pattern) {
    int error = 0;
    PCRE2_SIZE at = 0;
    m_code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &error,
                               &at, nullptr));
    XQS_ASSERT(m_code != nullptr);                       // our own patterns
    pcre2_jit_compile(m_code.get(), PCRE2_JIT_COMPLETE); // without JIT it is slower, and right
  }

  /// Calls `piece` for the matches and for what lies between, in order. text: valid UTF-8.
  template <typename Piece> void split(std::string_view text, pcre2_match_data *match, const Piece &piece) const {
    std::size_t done = 0, from = 0;
    while (from < text.size()) {
      const int found = pcre2_match(m_code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                    PCRE2_NO_UTF_CHECK, match, nullptr);
      if (found == PCRE2_ERROR_NOMATCH) break;
      if (found < 0)
        throw Error(Code::Internal, fmt::format("the pre-tokenizer failed (PCRE2 error {}): please report", found));
      const PCRE2_SIZE *range = pcre2_get_ovector_pointer(match);
      const std::size_t begin = range[0], end = range[1]; // taken now: `piece` may match again with the same memory
      XQS_ASSERT(end > begin);                            // no pattern of ours matches the empty string
      if (begin > done) piece(text.substr(done, begin - done));
      piece(text.substr(begin, end - begin));
      done = from = end;
    }
    if (done < text.size()) piece(text.substr(done));
  }

  struct Free {
    void operator()(pcre2_code *code) const { pcre2_code_free(code); }
    void operator()(pcre2_match_data *match) const { pcre2_match_data_free(match); }
  };

private:
  std::unique_ptr<pcre2_code, Free> m_code;
};

PreTokenizer::PreTokenizer(const PreTokenizerSpec &spec) : m_spec(&spec) {
  if (spec.firstPattern != nullptr) m_patterns.emplace_back(spec.firstPattern);
  m_patterns.emplace_back(spec.pattern);
}
PreTokenizer::~PreTokenizer() = default;
PreTokenizer::PreTokenizer(PreTokenizer &&) noexcept = default;

void PreTokenizer::split(std::string_view text, const Word &word) const {
  const std::unique_ptr<pcre2_match_data, Pattern::Free> match(pcre2_match_data_create(1, nullptr));
  const auto splitValid = [&](std::string_view valid) {
    if (m_patterns.size() == 1) return m_patterns[0].split(valid, match.get(), word);
    m_patterns[0].split(valid, match.get(), [&](std::string_view part) { m_patterns[1].split(part, match.get(), word); });
  };
  std::size_t begin = 0, at = 0;
  while (at < text.size()) {
    const std::size_t length = utf8Length(text.substr(at));
    if (length > 0) {
      at += length;
      continue;
    }
    if (at > begin) splitValid(text.substr(begin, at - begin));
    word(text.substr(at, 1));
    begin = ++at;
  }
  if (at > begin) splitValid(text.substr(begin, at - begin));
}

} // namespace xqs
