// SPDX-License-Identifier: Apache-2.0
#include "model/bpe_tokenizer.h"

#include "error.h"
#include "model/model_reader.h"
#include "model/sha256.h"
#include "support/default_model.h"
#include "support/model_files.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <random>

namespace xqs {
namespace {

using testing::ElementsAre;

std::vector<std::string> words(const char *key, std::string_view text) {
  std::vector<std::string> list;
  PreTokenizer(*findPreTokenizer(key)).split(text, [&](std::string_view word) { list.emplace_back(word); });
  return list;
}

TEST(PreTokenizer, cutsAsPublished) {
  EXPECT_THAT(words("gpt-2", "It's 2024,  ok\n"), ElementsAre("It", "'s", " 2024", ",", " ", " ok", "\n"));
  // Single digits, and what a space before a digit means once the digit is taken out: the end of a text of its own.
  EXPECT_THAT(words("smollm", "a 12  3 b"), ElementsAre("a", " ", "1", "2", "  ", "3", " b"));
  EXPECT_THAT(words("llama-bpe", "I'LL pay 12345 now\n\n x"),
              ElementsAre("I", "'LL", " pay", " ", "123", "45", " now", "\n\n", " x"));
  EXPECT_THAT(words("qwen2", "(x) 123\r\n"), ElementsAre("(x", ")", " ", "1", "2", "3", "\r\n"));
}

TEST(PreTokenizer, losesNothing) {
  std::mt19937 random(7);
  const std::string alphabet[] = {
      "a", "Z", " ", "\n", "\r", "'s", "9", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xff", "\xe2\x82", "."};
  for (const PreTokenizerSpec &spec : preTokenizers()) {
    const PreTokenizer cut(spec);
    for (int round = 0; round < 200; ++round) {
      std::string text, joined;
      for (int i = 0; i < 40; ++i) text += alphabet[random() % std::size(alphabet)];
      cut.split(text, [&](std::string_view word) { joined += word; });
      ASSERT_EQ(joined, text) << spec.name;
    }
  }
}

TEST(PreTokenizer, selection) {
  EXPECT_STREQ(findPreTokenizer("llama3")->name, "llama-bpe");
  EXPECT_EQ(findPreTokenizer("llama"), nullptr);
  EXPECT_EQ(findPreTokenizer(""), nullptr);
  EXPECT_EQ(findPreTokenizer("llama3 llama-v3"), nullptr);
}

/// The 256 bytes as ids 0..255, then the given tokens.
BpeTokenizer make(const char *pre, std::initializer_list<const char *> more, const std::vector<std::string_view> &merges,
                  std::optional<TokenId> bos = {}) {
  Vocabulary v;
  for (int byte = 0; byte < 256; ++byte) v.tokens.push_back(test::spelledByte(byte));
  for (const char *token : more) v.tokens.emplace_back(token);
  v.types.assign(v.tokens.size(), TokenType::Normal);
  v.bos = bos;
  return BpeTokenizer(*findPreTokenizer(pre), std::move(v), merges);
}

TEST(BpeTokenizer, mergesByRankThenFromTheLeft) {
  const BpeTokenizer t = make("gpt-2", {"bc", "ab", "aa", "abc"}, {"b c", "a b", "a a", "ab c"});
  EXPECT_THAT(t.encode("abc"), ElementsAre('a', 256)); // "b c" ranks before "a b"
  EXPECT_THAT(t.encode("aaa"), ElementsAre(258, 'a')); // the leftmost pair first
  EXPECT_THAT(t.encode("aab"), ElementsAre('a', 257));
  EXPECT_EQ(t.decode(257), "ab");
}

TEST(BpeTokenizer, spacesAndForeignBytes) {
  const BpeTokenizer t = make("gpt-2",
                              {"\xc4\xa0"
                               "a"},
                              {"\xc4\xa0 a"}); // U+0120 spells the space
  EXPECT_THAT(t.encode("a a"), ElementsAre('a', 256));
  EXPECT_EQ(t.decode(256), " a");
  EXPECT_THAT(t.encode("\xff\xc3"
                       "a"),
              ElementsAre(0xff, 0xc3, 'a'));
  EXPECT_THAT(t.encode(std::string("\0", 1)), ElementsAre(0));
  EXPECT_TRUE(t.encode("").empty());
}

TEST(BpeTokenizer, wholeWordsWhereThePreTokenizerSaysSo) {
  // "abc" is a token that no merges lead to.
  EXPECT_THAT(make("llama-bpe", {"abc"}, {}).encode("abc"), ElementsAre(256));
  EXPECT_THAT(make("gpt-2", {"abc"}, {}).encode("abc"), ElementsAre('a', 'b', 'c'));
}

// "é" as one character and as "e" with an accent behind it. Examples of Unicode Standard Annex 15, figures 3 to 5.
TEST(BpeTokenizer, composesWhereThePreTokenizerSaysSo) {
  const std::string composed = "caf\u00e9 d\u1e69\n", decomposed = "cafe\u0301 ds\u0323\u0307\n";
  const auto text = [](const BpeTokenizer &t, const std::string &given) {
    std::string all;
    for (const TokenId id : t.encode(given)) all += t.decode(id);
    return all;
  };
  const BpeTokenizer qwen = make("qwen2", {}, {});
  EXPECT_EQ(text(qwen, decomposed), composed);
  EXPECT_EQ(text(qwen, composed), composed);
  EXPECT_EQ(text(qwen, "ds\u0307\u0323"), "d\u1e69");                  // marks in the other order
  EXPECT_EQ(text(qwen, "\u212b \u1112\u1161\u11ab"), "\u00c5 \ud55c"); // the angstrom sign; Hangul
  EXPECT_EQ(text(qwen, "\ufb01"), "\ufb01");                           // a ligature is not canonically "fi"
  EXPECT_EQ(text(qwen, "e\xff\u0301\n\u0301"), "e\xff\u0301\n\u0301"); // nothing composes across a foreign byte
  EXPECT_EQ(text(qwen, std::string("a\0e\u0301", 5)), std::string("a\0\u00e9", 4));
  EXPECT_EQ(text(make("llama-bpe", {}, {}), decomposed), decomposed);
  EXPECT_EQ(text(make("smollm", {}, {}), decomposed), decomposed);
}

TEST(BpeTokenizer, bosOnceInFront) { EXPECT_THAT(make("gpt-2", {"<s>"}, {}, 256).encode("ab"), ElementsAre(256, 'a', 'b')); }

TEST(BpeTokenizer, refusesInconsistentVocabularies) {
  EXPECT_THROW(make("gpt-2", {}, {"a b"}), Error);       // "ab" is not a token
  EXPECT_THROW(make("gpt-2", {"ab"}, {"ab"}), Error);    // no pair
  EXPECT_THROW(make("gpt-2", {"ab"}, {"a b c"}), Error); // a space is not spelled so
  EXPECT_THROW(make("gpt-2", {"ab"}, {""}), Error);
  Vocabulary v;
  v.tokens = {"a"}, v.types = {TokenType::Normal};
  EXPECT_THROW(BpeTokenizer(*findPreTokenizer("gpt-2"), v, {}), Error); // bytes without a token
  v.unknown = 0;
  EXPECT_THAT(BpeTokenizer(*findPreTokenizer("gpt-2"), v, {}).encode("ab"), ElementsAre(0, 0));
}

// Merging one pair at a time, searching the whole word each time: the definition.
TEST(BpeTokenizer, agreesWithThePlainDefinition) {
  std::mt19937 random(3);
  std::vector<std::string> list{"a", "b", "c"}, spelled;
  std::vector<std::pair<std::string, std::string>> pairs;
  while (pairs.size() < 60) {
    const std::string l = list[random() % list.size()], r = list[random() % list.size()];
    if (l.size() + r.size() > 9 || std::ranges::find(list, l + r) != list.end()) continue;
    list.push_back(l + r);
    pairs.emplace_back(l, r);
    spelled.push_back(l + " " + r);
  }
  Vocabulary v;
  for (int byte = 0; byte < 256; ++byte) v.tokens.push_back(test::spelledByte(byte));
  v.tokens.insert(v.tokens.end(), list.begin() + 3, list.end());
  v.types.assign(v.tokens.size(), TokenType::Normal);
  const BpeTokenizer t(*findPreTokenizer("gpt-2"), v, {spelled.begin(), spelled.end()});
  for (int round = 0; round < 500; ++round) {
    std::string word;
    for (std::size_t i = 0, n = 1 + random() % 40; i < n; ++i) word += static_cast<char>('a' + random() % 3);
    std::vector<std::string> want, got;
    for (const char c : word) want.emplace_back(1, c);
    for (bool merged = true; merged;) {
      merged = false;
      for (std::size_t rank = 0; rank < pairs.size() && !merged; ++rank)
        for (std::size_t i = 0; i + 1 < want.size() && !merged; ++i)
          if (want[i] == pairs[rank].first && want[i + 1] == pairs[rank].second) {
            want[i] += want[i + 1];
            want.erase(want.begin() + static_cast<std::ptrdiff_t>(i) + 1);
            merged = true;
          }
    }
    for (const TokenId id : t.encode(word)) got.push_back(t.decode(id));
    ASSERT_EQ(got, want) << word;
  }
}

// Quadratic work would be some 10^12 steps: the test would end by its time limit in CTest.
TEST(BpeTokenizer, longWordsTakeNoQuadraticTime) {
  const BpeTokenizer t = make("gpt-2", {"aa", "aaaa"}, {"a a", "aa aa"});
  EXPECT_EQ(t.encode(std::string(1'000'000, 'a')).size(), 250'000u);
  EXPECT_EQ(t.encode(std::string(1'000'000, ' ')).size(), 1'000'000u);
}

TEST(BpeTokenizer, smolLm2IdsOfWikiText) {
  XQS_NEED_MODEL(model);
  XQS_NEED_SHARED(shared);
  const auto golden = nlohmann::json::parse(std::ifstream(shared + "/golden/smollm2-512.json"));
  std::ifstream in(shared + "/data/wikitext-2-raw-test.txt", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  ASSERT_EQ(sha256Hex(std::as_bytes(std::span(text))), golden["text_sha256"]);
  const auto reader = openModel(model);
  if (reader->hash() != golden["model_sha256"]) GTEST_SKIP() << model << " is another model than the golden figures'";
  const std::vector<TokenId> ids = reader->tokenizer()->encode(text);
  ASSERT_EQ(ids.size(), golden["n_tokens"].get<std::size_t>());
  EXPECT_EQ(std::vector<TokenId>(ids.begin(), ids.begin() + 64), golden["first_64_token_ids"].get<std::vector<TokenId>>());
  EXPECT_EQ(sha256Hex(std::as_bytes(std::span(ids))), golden["token_ids_sha256_le_int32"]);
  std::string back;
  for (const TokenId id : ids) back += reader->tokenizer()->decode(id);
  EXPECT_EQ(back, text);
}

} // namespace
} // namespace xqs
