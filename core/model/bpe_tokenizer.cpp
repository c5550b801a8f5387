// SPDX-License-Identifier: Apache-2.0
#include "bpe_tokenizer.h"

#include "error.h"
#include "utf8.h"

#include <fmt/format.h>

#include <queue>

namespace xqs {
namespace {

constexpr TokenId kNone = -1;
constexpr std::size_t kLongestCachedWord = 64;    // bytes; longer words do not come back
constexpr std::size_t kMostCachedWords = 1 << 18; // about 30 MB in the worst case

std::uint64_t pairKey(TokenId left, TokenId right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
}

/// GPT-2's bytes_to_unicode: printable Latin-1 bytes are themselves, the 68 others U+0100, U+0101, ... in order.
constexpr bool isItself(int byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}
struct ByteAlphabet {
  std::array<std::int16_t, 0x144> byteOf{}; ///< by code point; -1 = no byte
  constexpr ByteAlphabet() {
    byteOf.fill(-1);
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte)
      byteOf[static_cast<std::size_t>(isItself(byte) ? byte : next++)] = static_cast<std::int16_t>(byte);
  }
};
constexpr ByteAlphabet kAlphabet;

/// The bytes that a spelled token stands for; nothing where it is not spelled in the alphabet.
std::optional<std::string> decodeSpelling(std::string_view text) {
  std::string bytes;
  while (!text.empty()) {
    const std::size_t length = utf8Length(text);
    if (length != 1 && length != 2) return std::nullopt;
    const auto at = [&](std::size_t i) { return static_cast<unsigned>(static_cast<unsigned char>(text[i])); };
    const unsigned point = length == 1 ? at(0) : (at(0) & 0x1fu) << 6 | (at(1) & 0x3fu);
    if (point >= kAlphabet.byteOf.size() || kAlphabet.byteOf[point] < 0) return std::nullopt;
    bytes += static_cast<char>(kAlphabet.byteOf[point]);
    text.remove_prefix(length);
  }
  return bytes;
}

} // namespace

BpeTokenizer::BpeTokenizer(const PreTokenizerSpec &spec, Vocabulary vocabulary, const std::vector<std::string_view> &merges)
    : Tokenizer(SpecialTokens(vocabulary)), m_preTokenizer(spec), m_bytes(std::move(vocabulary.tokens)),
      m_unknown(vocabulary.unknown) {
  m_byteToken.fill(kNone);
  m_words.reserve(m_bytes.size());
  for (std::size_t id = 0; id < m_bytes.size(); ++id) {
    if (vocabulary.types[id] != TokenType::Normal) continue; // spelled plainly, and never made from text
    if (auto bytes = decodeSpelling(m_bytes[id])) m_bytes[id] = std::move(*bytes);
    const auto token = static_cast<TokenId>(id);
    if (!m_words.emplace(m_bytes[id], token).second || m_bytes[id].size() != 1) continue;
    m_byteToken[static_cast<unsigned char>(m_bytes[id][0])] = token;
  }
  for (int byte = 0; byte < 256; ++byte)
    if (m_byteToken[static_cast<std::size_t>(byte)] == kNone && !m_unknown)
      throw Error(Code::BadFile, fmt::format("the vocabulary has no token for byte 0x{:02x} and no unknown token", byte));
  addMerges(merges);
}

void BpeTokenizer::addMerges(const std::vector<std::string_view> &merges) {
  m_merges.reserve(merges.size());
  std::int32_t rank = 0;
  for (const std::string_view text : merges) {
    // Spaces are never part of a spelled token, so the one after the first character separates.
    const std::size_t space = text.find(' ', 1);
    const auto left = decodeSpelling(text.substr(0, space));
    const auto right = space == text.npos ? std::nullopt : decodeSpelling(text.substr(space + 1));
    if (!left || !right)
      throw Error(Code::BadFile, fmt::format("merge {} ('{}') is not a pair of tokens", rank, printable(text)));
    const auto l = m_words.find(*left), r = m_words.find(*right), both = m_words.find(*left + *right);
    if (l == m_words.end() || r == m_words.end() || both == m_words.end())
      throw Error(Code::BadFile,
                  fmt::format("merge {} ('{}') names a token that is not in the vocabulary", rank, printable(text)));
    m_merges.try_emplace(pairKey(l->second, r->second), Merge{rank, both->second});
    ++rank;
  }
}

const BpeTokenizer::Merge *BpeTokenizer::merge(TokenId left, TokenId right) const {
  const auto it = m_merges.find(pairKey(left, right));
  return it == m_merges.end() ? nullptr : &it->second;
}

// A linked list of symbols and a queue of candidate pairs: n log n for a word of n bytes. A candidate whose symbols have
// changed since it was queued is recognized by its ids and dropped.
void BpeTokenizer::encodeWord(std::string_view word, std::vector<TokenId> &out) const {
  if (m_preTokenizer.spec().wholeWords)
    if (const auto it = m_words.find(word); it != m_words.end()) return out.push_back(it->second);
  struct Symbol {
    TokenId id;
    std::int64_t previous, next;
  };
  struct Candidate {
    std::int32_t rank;
    std::int64_t left;
    TokenId leftId, rightId;
    bool operator<(const Candidate &o) const { return rank != o.rank ? rank > o.rank : left > o.left; }
  };
  const auto n = static_cast<std::int64_t>(word.size());
  std::vector<Symbol> symbols(word.size());
  std::priority_queue<Candidate> queue;
  const auto at = [&](std::int64_t i) -> Symbol & { return symbols[static_cast<std::size_t>(i)]; };
  const auto consider = [&](std::int64_t left) {
    if (left < 0 || at(left).next >= n) return;
    const TokenId l = at(left).id, r = at(at(left).next).id;
    if (l == kNone || r == kNone) return;
    if (const Merge *m = merge(l, r)) queue.push({m->rank, left, l, r});
  };
  for (std::int64_t i = 0; i < n; ++i)
    at(i) = {m_byteToken[static_cast<unsigned char>(word[static_cast<std::size_t>(i)])], i - 1, i + 1};
  for (std::int64_t i = 0; i + 1 < n; ++i) consider(i);
  while (!queue.empty()) {
    const Candidate c = queue.top();
    queue.pop();
    Symbol &left = at(c.left);
    if (left.id != c.leftId || left.next >= n || at(left.next).id != c.rightId) continue;
    Symbol &right = at(left.next);
    left.id = merge(c.leftId, c.rightId)->result;
    left.next = right.next;
    right.id = kNone; // dead: candidates that start here no longer match
    if (left.next < n) at(left.next).previous = c.left;
    consider(left.previous);
    consider(c.left);
  }
  for (std::int64_t i = 0; i < n; i = at(i).next) out.push_back(at(i).id == kNone ? *m_unknown : at(i).id);
}

void BpeTokenizer::encodeText(std::string_view given, bool, std::vector<TokenId> &ids) const {
  const std::string normalized = m_preTokenizer.spec().nfc ? nfc(given) : std::string();
  const std::string_view text = m_preTokenizer.spec().nfc ? normalized : given;
  std::unordered_map<std::string_view, std::pair<std::size_t, std::size_t>> seen; // word of `text` -> range of ids
  m_preTokenizer.split(text, [&](std::string_view word) {
    if (const auto it = seen.find(word); it != seen.end()) {
      for (std::size_t i = it->second.first; i < it->second.second; ++i) ids.push_back(TokenId{ids[i]});
      return;
    }
    const std::size_t begin = ids.size();
    encodeWord(word, ids);
    if (word.size() <= kLongestCachedWord && seen.size() < kMostCachedWords)
      seen.emplace(word, std::pair(begin, ids.size()));
  });
}

std::string BpeTokenizer::decode(TokenId id) const {
  XQS_ASSERT(id >= 0 && id < vocabSize());
  return m_bytes[static_cast<std::size_t>(id)];
}

} // namespace xqs
