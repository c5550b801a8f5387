// SPDX-License-Identifier: Apache-2.0
#include "spm_tokenizer.h"

#include "error.h"
#include "utf8.h"

#include <charconv>
#include <queue>

namespace xqs {
namespace {

constexpr std::string_view kSpace = "\xe2\x96\x81"; // U+2581, LOWER ONE EIGHTH BLOCK

/// The byte that "<0xNN>" spells, -1 for any other text.
int spelledByte(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  int byte = 0;
  const auto [end, error] = std::from_chars(text.data() + 3, text.data() + 5, byte, 16);
  return error == std::errc{} && end == text.data() + 5 && byte >= 0 ? byte : -1;
}

std::string replaceAll(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  std::size_t begin = 0;
  for (std::size_t at; (at = text.find(from, begin)) != text.npos; begin = at + from.size())
    out.append(text.substr(begin, at - begin)).append(to);
  return out.append(text.substr(begin));
}

} // namespace

SpmTokenizer::SpmTokenizer(Vocabulary vocabulary, bool addSpacePrefix)
    : Tokenizer(SpecialTokens(vocabulary)), m_pieces(std::move(vocabulary.tokens)), m_scores(std::move(vocabulary.scores)),
      m_unknown(vocabulary.unknown), m_addSpacePrefix(addSpacePrefix) {
  m_byteToken.fill(-1);
  m_normal.reserve(m_pieces.size());
  m_bytes.reserve(m_pieces.size());
  for (std::size_t id = 0; id < m_pieces.size(); ++id) {
    const std::string &piece = m_pieces[id];
    const int byte = vocabulary.types[id] == TokenType::Byte ? spelledByte(piece) : -1;
    if (byte >= 0) m_byteToken[static_cast<std::size_t>(byte)] = static_cast<TokenId>(id);
    if (vocabulary.types[id] == TokenType::Normal) m_normal.emplace(piece, static_cast<TokenId>(id));
    m_bytes.push_back(byte >= 0 ? std::string(1, static_cast<char>(byte)) : replaceAll(piece, kSpace, " "));
  }
  for (const TokenId token : m_byteToken)
    if (token < 0 && !m_unknown)
      throw Error(Code::BadFile, "the vocabulary has neither a token for every byte nor an unknown token");
}

void SpmTokenizer::encodeText(std::string_view text, bool afterSpecial, std::vector<TokenId> &ids) const {
  if (text.empty()) return;
  const bool prefix = m_addSpacePrefix && !(afterSpecial && std::string_view(" \t\r\n").find(text[0]) != text.npos);
  mergeInto((prefix ? std::string(kSpace) : std::string()) + replaceAll(text, " ", kSpace), ids);
}

void SpmTokenizer::mergeInto(const std::string &escaped, std::vector<TokenId> &ids) const {
  struct Symbol {
    std::size_t begin, bytes; // 0 bytes: merged into the one before
    std::int64_t previous, next;
  };
  struct Candidate {
    float score;
    std::int64_t left;
    std::size_t bytes; // of both symbols together: tells a candidate that is out of date
    bool operator<(const Candidate &o) const { return score != o.score ? score < o.score : left > o.left; }
  };
  std::vector<Symbol> symbols;
  for (std::size_t at = 0; at < escaped.size();) {
    const std::size_t bytes = std::max<std::size_t>(1, utf8Length(std::string_view(escaped).substr(at)));
    const auto i = static_cast<std::int64_t>(symbols.size());
    symbols.push_back({at, bytes, i - 1, i + 1});
    at += bytes;
  }
  const auto n = static_cast<std::int64_t>(symbols.size());
  const auto sym = [&](std::int64_t i) -> Symbol & { return symbols[static_cast<std::size_t>(i)]; };
  const auto text = [&](std::size_t begin, std::size_t bytes) { return std::string_view(escaped).substr(begin, bytes); };
  std::priority_queue<Candidate> queue;
  const auto consider = [&](std::int64_t left) {
    if (left < 0 || sym(left).next >= n) return;
    const std::size_t bytes = sym(left).bytes + sym(sym(left).next).bytes;
    if (const auto it = m_normal.find(text(sym(left).begin, bytes)); it != m_normal.end())
      queue.push({m_scores[static_cast<std::size_t>(it->second)], left, bytes});
  };
  for (std::int64_t i = 0; i + 1 < n; ++i) consider(i);
  while (!queue.empty()) {
    const Candidate c = queue.top();
    queue.pop();
    Symbol &left = sym(c.left);
    if (left.bytes == 0 || left.next >= n || left.bytes + sym(left.next).bytes != c.bytes) continue;
    Symbol &right = sym(left.next);
    left.bytes = c.bytes;
    left.next = right.next;
    right.bytes = 0;
    if (left.next < n) sym(left.next).previous = c.left;
    consider(left.previous);
    consider(c.left);
  }
  bool afterUnknown = false;
  for (std::int64_t i = 0; i < n; i = sym(i).next) {
    const std::string_view piece = text(sym(i).begin, sym(i).bytes);
    if (const auto it = m_normal.find(piece); it != m_normal.end()) {
      ids.push_back(it->second);
      afterUnknown = false;
      continue;
    }
    for (const char byte : piece) {
      const TokenId token = m_byteToken[static_cast<unsigned char>(byte)];
      if (token >= 0 || !afterUnknown) ids.push_back(token >= 0 ? token : *m_unknown);
      afterUnknown = token < 0;
    }
  }
}

std::string SpmTokenizer::decode(TokenId id) const {
  XQS_ASSERT(id >= 0 && id < vocabSize());
  return m_bytes[static_cast<std::size_t>(id)];
}

} // namespace xqs
