// SPDX-License-Identifier: Apache-2.0
#include "model/special_tokens.h"

#include "model/byte_tokenizer.h"
#include "model/model_reader.h"
#include "support/default_model.h"
#include "support/vocabularies.h"

#include <gmock/gmock.h>

namespace xqs {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using enum TokenType;

constexpr const char *kSpace = "\xe2\x96\x81";

TEST(SpecialTokens, spelledOnesBecomeTheirIds) {
  const BpeTokenizer t = test::bpe(test::byteLevel(
      {{"<|x|>", Control}, {"<|x|>y", Control}, {"<u>", UserDefined}, {"<n>", Unused}, {"", Control}, {"<|x|>", Control}}));
  EXPECT_THAT(t.encodeWithSpecials("a<|x|>b<u><u>"), ElementsAre('a', 256, 'b', 258, 258));
  EXPECT_THAT(t.encodeWithSpecials("<|x|>yz"), ElementsAre(257, 'z')); // the longest
  EXPECT_THAT(t.encodeWithSpecials("<|<|x|>"), ElementsAre('<', '|', 256));
  EXPECT_THAT(t.encodeWithSpecials("<|x|<n>"), ElementsAre('<', '|', 'x', '|', '<', 'n', '>'));
  EXPECT_TRUE(t.encodeWithSpecials("").empty());
  // To `encode` they are text.
  EXPECT_THAT(t.encode("<u>"), ElementsAre('<', 'u', '>'));
}

TEST(SpecialTokens, aTextWithoutThemIsEncodedAsEver) {
  const std::string text = "It's  <| 12 \n\xff\xe2\x82\xac</ s>";
  const BpeTokenizer bpe = test::bpe(test::byteLevel({{"<|x|>", Control}}));
  EXPECT_EQ(bpe.encodeWithSpecials(text), bpe.encode(text));
  const ByteTokenizer bytes(250);
  EXPECT_EQ(bytes.encodeWithSpecials(text), bytes.encode(text));
  Vocabulary v = test::llama2({{kSpace, Normal}});
  const SpmTokenizer withBos(v, true);
  std::vector<TokenId> ids = withBos.encodeWithSpecials("<s>" + text);
  EXPECT_EQ(ids, withBos.encode(text));
  v.addBos = false;
  const SpmTokenizer without(v, true);
  EXPECT_EQ(without.encodeWithSpecials(text), without.encode(text));
  ids.erase(ids.begin());
  EXPECT_EQ(ids, without.encode(text));
}

// Byte tokens: id 3 + byte.
TEST(SpecialTokens, sentencePieceSpaces) {
  const SpmTokenizer t(test::llama2({{kSpace, Normal}, {"[I]", Control}}), true);
  const TokenId space = 259, tag = 260, a = 3 + 'a', newline = 3 + '\n';
  EXPECT_THAT(t.encodeWithSpecials("<s>a</s><s>a"), ElementsAre(1, space, a, 2, 1, space, a)); // each turn has its prefix
  EXPECT_THAT(t.encodeWithSpecials("<s> a"), ElementsAre(1, space, a));                        // one space, not two
  EXPECT_THAT(t.encodeWithSpecials("[I] a[I]\na"), ElementsAre(tag, space, a, tag, newline, a));
  EXPECT_THAT(t.encodeWithSpecials(" a"), ElementsAre(space, space, a)); // the beginning of a text: as `encode`
  const SpmTokenizer plain(test::llama2({{kSpace, Normal}}), false);
  EXPECT_THAT(plain.encodeWithSpecials("<s>a</s> a"), ElementsAre(1, a, 2, space, a));
}

TEST(SpecialTokens, endOfGeneration) {
  Vocabulary v = test::byteLevel(
      {{"<|im_end|>", Control}, {"<|eot_id|>", UserDefined}, {"</s>", Normal}, {"<turn>", Normal}, {"<eos>", Control}});
  EXPECT_THAT(SpecialTokens(v).endTokens(), ElementsAre(256, 260)); // spelled so, and control tokens
  v.eos = 260, v.eot = 259;
  const SpecialTokens named(v);
  EXPECT_THAT(named.endTokens(), ElementsAre(256, 259, 260));
  EXPECT_TRUE(named.ends(259));
  EXPECT_FALSE(named.ends(258));
  EXPECT_EQ(named.eos(), 260);
  EXPECT_EQ(named.bos(), std::nullopt);
  EXPECT_EQ(named.type(256), Control);
  EXPECT_EQ(named.type(0), Normal);
  const ByteTokenizer bytes(256);
  EXPECT_TRUE(bytes.specials().endTokens().empty());
  EXPECT_EQ(bytes.specials().type(255), Normal);
}

TEST(SpecialTokens, bosIsKnownWhereItIsNotAdded) {
  Vocabulary v = test::llama2({});
  v.addBos = false;
  const SpmTokenizer t(v, false);
  EXPECT_EQ(t.specials().bos(), 1);
  EXPECT_THAT(t.encode("a"), ElementsAre(3 + 'a'));
}

TEST(SpecialTokens, smolLm2) {
  XQS_NEED_MODEL(path);
  const auto reader = openModel(path);
  const Tokenizer &t = *reader->tokenizer();
  EXPECT_THAT(t.specials().endTokens(), ElementsAre(0, 2)); // <|endoftext|>, <|im_end|>
  EXPECT_EQ(t.specials().bos(), 1);
  std::vector<TokenId> want{1};
  for (const TokenId id : t.encode("user\nHi")) want.push_back(id);
  want.push_back(2);
  for (const TokenId id : t.encode("\n")) want.push_back(id);
  EXPECT_THAT(t.encodeWithSpecials("<|im_start|>user\nHi<|im_end|>\n"), ElementsAreArray(want));
  EXPECT_GT(t.encode("<|im_start|>").size(), 1u);
}

} // namespace
} // namespace xqs
