// SPDX-License-Identifier: Apache-2.0
#include "model/spm_tokenizer.h"

#include "error.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <fstream>

namespace xqs {
namespace {

using testing::ElementsAre;

TEST(SpmTokenizer, golden) {
  const auto golden = nlohmann::json::parse(std::ifstream(XQS_SOURCE_DIR "/tests/core/model/golden/spm_tokenizer.json"));
  const auto texts = golden["texts"].get<std::vector<std::string>>();
  for (const auto &model : golden["models"]) {
    Vocabulary v;
    v.tokens = model["tokens"].get<std::vector<std::string>>();
    v.scores = model["scores"].get<std::vector<float>>();
    for (const int type : model["types"]) v.types.push_back(static_cast<TokenType>(type));
    v.unknown = 0;
    const SpmTokenizer tokenizer(v, model["space_prefix"]);
    for (std::size_t i = 0; i < texts.size(); ++i)
      EXPECT_EQ(tokenizer.encode(texts[i]), model["ids"][i].get<std::vector<TokenId>>()) << "'" << texts[i] << "'";
  }
}

/// <unk>, <s>, the bytes (id 2 + byte), then "U+2581" 258, "a" 259, "U+2581 a" 260.
Vocabulary small() {
  Vocabulary v;
  v.tokens = {"<unk>", "<s>"}, v.types = {TokenType::Unknown, TokenType::Control}, v.unknown = 0;
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(byte));
    v.tokens.emplace_back(text);
    v.types.push_back(TokenType::Byte);
  }
  for (const char *token : {"\xe2\x96\x81", "a",
                            "\xe2\x96\x81"
                            "a"}) {
    v.tokens.emplace_back(token);
    v.types.push_back(TokenType::Normal);
  }
  v.scores.assign(v.tokens.size(), 0);
  return v;
}

TEST(SpmTokenizer, spacesBytesAndBos) {
  Vocabulary v = small();
  EXPECT_THAT(SpmTokenizer(v, true).encode("a a"), ElementsAre(260, 260));
  EXPECT_THAT(SpmTokenizer(v, false).encode("a a"), ElementsAre(259, 260));
  EXPECT_THAT(SpmTokenizer(v, false).encode("\xc3\xa9\xff"), ElementsAre(2 + 0xc3, 2 + 0xa9, 2 + 0xff));
  EXPECT_TRUE(SpmTokenizer(v, true).encode("").empty());
  const SpmTokenizer plain(v, true);
  EXPECT_EQ(plain.decode(260), " a");
  EXPECT_EQ(plain.decode(2 + 0xff), "\xff");
  v.bos = 1;
  EXPECT_THAT(SpmTokenizer(v, true).encode("a"), ElementsAre(1, 260));
  EXPECT_THAT(SpmTokenizer(v, true).encode(""), ElementsAre(1));
}

TEST(SpmTokenizer, refusesAVocabularyThatCannotSpellEverything) {
  Vocabulary v;
  v.tokens = {"a"}, v.types = {TokenType::Normal}, v.scores = {0};
  EXPECT_THROW(SpmTokenizer(v, true), Error);
}

} // namespace
} // namespace xqs
