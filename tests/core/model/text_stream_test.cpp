// SPDX-License-Identifier: Apache-2.0
#include "model/text_stream.h"

#include "model/byte_tokenizer.h"
#include "model/utf8.h"
#include "support/vocabularies.h"

#include <gmock/gmock.h>

#include <random>

namespace xqs {
namespace {

using testing::ElementsAre;
using enum TokenType;

constexpr const char *kBad = "\xef\xbf\xbd";

std::vector<std::string> pieces(const std::string &bytes) {
  const ByteTokenizer t(256);
  TextStream stream(t, true);
  std::vector<std::string> list;
  for (const TokenId id : t.encode(bytes)) list.push_back(stream.push(id));
  list.push_back(stream.finish());
  return list;
}
std::string joined(const std::string &bytes) {
  std::string text;
  for (const std::string &piece : pieces(bytes)) text += piece;
  return text;
}

TEST(TextStream, charactersComeWhenTheyAreComplete) {
  EXPECT_THAT(pieces("a\xc3\xa9"), ElementsAre("a", "", "\xc3\xa9", ""));
  EXPECT_THAT(pieces("\xf0\x9f\x98\x80!"), ElementsAre("", "", "", "\xf0\x9f\x98\x80", "!", ""));
  EXPECT_THAT(pieces("\xe2\x82"), ElementsAre("", "", kBad));
}

TEST(TextStream, badBytesAreReplacedAsUnicodeSays) {
  // Table 3-8 of the standard, and its neighbours: one replacement for each longest start of a character.
  const std::string bad = kBad;
  EXPECT_EQ(joined("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41"), bad + bad + bad + bad + bad + bad + bad + bad + "A");
  EXPECT_EQ(joined("\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41"), bad + bad + bad + bad + bad + bad + bad + bad + "A");
  EXPECT_EQ(joined("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41"), bad + bad + bad + bad + "A");
  EXPECT_EQ(joined("\xf4\x91\x92\x93\xff\x41\x80\xbf\x42"), bad + bad + bad + bad + bad + "A" + bad + bad + "B");
  EXPECT_EQ(pieces("\xe2\x28"), (std::vector<std::string>{"", bad + "(", ""})); // known as soon as it can be
  EXPECT_EQ(joined(bad), bad);                                                  // a real one stays one
}

TEST(TextStream, piecesAreValidWhateverComes) {
  std::mt19937 random(5);
  const char bytes[] = {'a', '\x80', '\xbf', '\xc3', '\xe0', '\xe2', '\xed', '\xf0', '\xf4', '\x90', '\xa0', '\xff'};
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (int i = 0; i < 12; ++i) text += bytes[random() % sizeof bytes];
    for (const std::string &piece : pieces(text))
      for (std::string_view rest = piece; !rest.empty(); rest.remove_prefix(utf8Length(rest)))
        ASSERT_GT(utf8Length(rest), 0u) << "a piece that is not UTF-8";
  }
}

TEST(TextStream, sentencePieceDropsTheSpaceThatItPutBeforeTheText) {
  constexpr const char *kWord = "\xe2\x96\x81hi";
  const SpmTokenizer t(test::llama2({{kWord, Normal}, {"\xe2\x96\x81", Normal}, {"<u>", UserDefined}}), true);
  const auto run = [&](bool startsText, const std::vector<TokenId> &ids) {
    TextStream stream(t, startsText);
    std::string text;
    for (const TokenId id : ids) text += stream.push(id);
    return text + stream.finish();
  };
  EXPECT_EQ(run(true, {259, 259}), "hi hi");
  EXPECT_EQ(run(false, {259, 259}), " hi hi"); // goes on after a prompt
  EXPECT_EQ(run(true, {260, 259}), " hi");     // one space only
  EXPECT_EQ(run(true, {1, 259, 2, 259}), "hihi");
  EXPECT_EQ(run(true, {261, 259}), "<u> hi");
  EXPECT_EQ(run(false, {3 + 0xe2, 2, 3 + 0x82}), std::string(kBad) + kBad); // a control token ends a character too
  for (const char *text : {"hi hi", " hi", "a  b ", "\xc3\xa9"}) EXPECT_EQ(run(true, t.encode(text)), text);
  const SpmTokenizer plain(test::llama2({{kWord, Normal}}), false);
  TextStream stream(plain, true);
  EXPECT_EQ(stream.push(259), " hi");
}

} // namespace
} // namespace xqs
