// SPDX-License-Identifier: Apache-2.0
#include "special_tokens.h"

#include "error.h"

#include <algorithm>

namespace xqs {
namespace {

// As the tokenizer.json of Llama 2 and 3, Mistral, Qwen2, SmolLM2, Gemma and Phi-3 spell the end of a text, turn or message.
constexpr std::string_view kEnds[] = {"</s>",       "<|endoftext|>", "<|end_of_text|>", "<|im_end|>",      "<|eot_id|>",
                                      "<|eom_id|>", "<|end|>",       "<end_of_turn>",   "<|end_of_turn|>", "<eos>"};

} // namespace

SpecialTokens::SpecialTokens(const Vocabulary &vocabulary)
    : m_types(vocabulary.types), m_bos(vocabulary.bos), m_eos(vocabulary.eos),
      m_addsBos(vocabulary.addBos && vocabulary.bos.has_value()) {
  for (const auto &id : {vocabulary.eos, vocabulary.eot})
    if (id) m_end.push_back(*id);
  for (std::size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    const std::string &text = vocabulary.tokens[i];
    const auto id = static_cast<TokenId>(i);
    const bool control = m_types[i] == TokenType::Control;
    if (control && std::ranges::find(kEnds, text) != std::end(kEnds)) m_end.push_back(id);
    if ((control || m_types[i] == TokenType::UserDefined) && !text.empty())
      m_spellings[static_cast<unsigned char>(text[0])].push_back({text, id});
  }
  std::ranges::sort(m_end);
  m_end.erase(std::unique(m_end.begin(), m_end.end()), m_end.end());
  for (std::vector<Spelling> &list : m_spellings) // of equal spellings the lowest id stays in front
    std::ranges::stable_sort(list, std::greater{}, [](const Spelling &s) { return s.text.size(); });
}

TokenType SpecialTokens::type(TokenId id) const {
  if (m_types.empty()) return TokenType::Normal;
  XQS_ASSERT(id >= 0 && static_cast<std::size_t>(id) < m_types.size());
  return m_types[static_cast<std::size_t>(id)];
}

bool SpecialTokens::ends(TokenId id) const { return std::ranges::binary_search(m_end, id); }

SpecialTokens::Match SpecialTokens::find(std::string_view text, std::size_t from) const {
  for (std::size_t at = from; at < text.size(); ++at)
    for (const Spelling &spelling : m_spellings[static_cast<unsigned char>(text[at])])
      if (text.substr(at).starts_with(spelling.text)) return {at, spelling.text.size(), spelling.id};
  return {text.size(), 0, 0};
}

} // namespace xqs
