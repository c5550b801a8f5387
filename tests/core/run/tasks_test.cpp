// SPDX-License-Identifier: Apache-2.0
#include "run/tasks.h"

#include "error.h"
#include "model/byte_tokenizer.h"
#include "model/model_reader.h"
#include "support/default_model.h"
#include "support/vocabularies.h"

#include <gmock/gmock.h>

#include <set>

namespace xqs {
namespace {

using testing::HasSubstr;
using enum TokenType;

std::string decode(const Tokenizer &t, const std::vector<TokenId> &ids) {
  std::string text;
  for (const TokenId id : ids) text += t.decode(id);
  return text;
}

TEST(CopyTask, twoCopiesOfRandomNormalTokens) {
  const BpeTokenizer t = test::bpe(test::byteLevel({{"<c>", Control}, {"<u>", UserDefined}, {"<n>", Unused}}));
  for (const Index distance : {2, 3, 127, 1000}) {
    const CopyTask task = makeCopyTask(t, distance, 5);
    EXPECT_EQ(task.distance, distance);
    ASSERT_EQ(task.tokens.size(), static_cast<std::size_t>(2 * distance));
    for (std::size_t i = 0; i < static_cast<std::size_t>(distance); ++i)
      ASSERT_EQ(task.tokens[i], task.tokens[i + static_cast<std::size_t>(distance)]);
    EXPECT_EQ(task.firstScored, distance + 1);
    for (const TokenId id : task.tokens) ASSERT_LT(id, 256);
  }
  const auto tokens = [&](std::uint64_t seed) { return makeCopyTask(t, 4000, seed).tokens; };
  EXPECT_EQ(tokens(5), tokens(5));
  EXPECT_NE(tokens(5), tokens(6));
  const std::vector<TokenId> some = tokens(5);
  EXPECT_EQ(std::set(some.begin(), some.end()).size(), 256u); // each is missed with probability 1.6e-7
}

TEST(CopyTask, aBosIsNoPartOfTheCopies) {
  Vocabulary v = test::llama2({{"a", Normal}, {"b", Normal}, {"c", Normal}});
  const CopyTask task = makeCopyTask(SpmTokenizer(v, true), 10, 1);
  ASSERT_EQ(task.tokens.size(), 21u);
  EXPECT_EQ(task.tokens[0], 1);
  EXPECT_EQ(task.firstScored, 12);
  for (std::size_t i = 1; i <= 10; ++i) {
    EXPECT_EQ(task.tokens[i], task.tokens[i + 10]);
    EXPECT_GE(task.tokens[i], 259); // not a byte token, not <s>
  }
}

TEST(CopyTask, refusals) {
  EXPECT_THROW(makeCopyTask(ByteTokenizer(256), 1, 1), Error);
  EXPECT_THROW(makeCopyTask(SpmTokenizer(test::llama2({}), true), 4, 1), Error);
}

void checkPasskey(const Tokenizer &t, Index tokens, double depth) {
  SCOPED_TRACE(testing::Message() << t.name() << ", " << tokens << " tokens, depth " << depth);
  const PasskeyTask task = makePasskeyTask(t, {.tokens = tokens, .depth = depth, .seed = 3});
  const auto size = static_cast<Index>(task.prompt.size());
  const auto sentence = static_cast<Index>(t.encode(" There and back again.").size()); // the longest
  EXPECT_LE(size, tokens);
  EXPECT_GT(size, tokens - sentence);

  const std::string text = decode(t, task.prompt), said = "The pass key is " + task.key + ". Remember it. ";
  ASSERT_EQ(task.key.size(), 5u);
  const std::size_t at = text.find(said + task.key + " is the pass key.");
  ASSERT_NE(at, text.npos);
  std::string elsewhere = text;
  elsewhere.erase(at, said.size() + task.key.size());
  EXPECT_EQ(elsewhere.find(task.key), elsewhere.npos);
  EXPECT_TRUE(text.ends_with("What is the pass key? The pass key is"));
  EXPECT_EQ(decode(t, task.answer), " " + task.key);
  std::vector<TokenId> whole = task.prompt;
  whole.insert(whole.end(), task.answer.begin(), task.answer.end());
  EXPECT_EQ(whole, t.encode(text + " " + task.key));

  // In tokens of filler, within one sentence.
  const auto count = [&](std::string_view part) { return static_cast<double>(t.encode(part).size()); };
  const double introduction = count(text.substr(0, std::min(text.find(" The grass"), text.find(" The pass key is"))));
  const std::string after = text.substr(text.find("is the pass key.") + 16);
  const double behind = count(after.substr(0, after.rfind(" What")));
  const double before = static_cast<double>(task.keyAt) - introduction;
  EXPECT_NEAR(before, depth * (before + behind), static_cast<double>(sentence));
  if (depth == 0) {
    EXPECT_EQ(before, 0);
  }
  if (depth == 1) {
    EXPECT_EQ(behind, 0);
  }
  EXPECT_TRUE(decode(t, {task.prompt.begin() + task.keyAt, task.prompt.end()}).starts_with(" " + said));
}

TEST(PasskeyTask, bytes) {
  const ByteTokenizer t(256);
  for (const Index tokens : {600, 1000, 1001, 2048})
    for (const double depth : {0.0, 0.1, 0.5, 0.77, 1.0}) checkPasskey(t, tokens, depth);
}

TEST(PasskeyTask, smolLm2) {
  XQS_NEED_MODEL(path);
  const auto reader = openModel(path);
  for (const Index tokens : {128, 129, 512, 2048})
    for (const double depth : {0.0, 0.25, 0.5, 1.0}) checkPasskey(*reader->tokenizer(), tokens, depth);
  EXPECT_LT(makePasskeyTask(*reader->tokenizer(), {.tokens = 128}).answer.size(), 8u);
}

TEST(PasskeyTask, trialsAreSeeded) {
  const ByteTokenizer t(256);
  const auto key = [&](std::uint64_t seed, std::uint64_t trial) {
    return makePasskeyTask(t, {.tokens = 600, .seed = seed, .trial = trial}).key;
  };
  EXPECT_EQ(key(1, 0), key(1, 0));
  std::set<std::string> keys;
  for (std::uint64_t seed = 1; seed <= 5; ++seed)
    for (std::uint64_t trial = 0; trial < 20; ++trial) keys.insert(key(seed, trial));
  EXPECT_GT(keys.size(), 97u); // of 90000
  const PasskeySettings same{.tokens = 600, .depth = 0.3, .seed = 9, .trial = 4};
  EXPECT_EQ(makePasskeyTask(t, same).prompt, makePasskeyTask(t, same).prompt);
}

TEST(PasskeyTask, refusals) {
  const ByteTokenizer t(256);
  for (const PasskeySettings &settings :
       {PasskeySettings{.tokens = 200}, PasskeySettings{.tokens = 600, .depth = -0.1},
        PasskeySettings{.tokens = 600, .depth = 1.1}, PasskeySettings{.tokens = 600, .depth = NAN}}) {
    try {
      makePasskeyTask(t, settings);
      ADD_FAILURE() << settings.tokens << " tokens, depth " << settings.depth << " was accepted";
    } catch (const Error &error) {
      EXPECT_EQ(error.code(), Code::Usage);
    }
  }
  // Without filler it just fits, with one token less it does not.
  Index least = 200;
  for (;; ++least) try {
      EXPECT_EQ(static_cast<Index>(makePasskeyTask(t, {.tokens = least}).prompt.size()), least);
      break;
    } catch (const Error &error) {
      EXPECT_THAT(error.what(), HasSubstr("at least"));
      ASSERT_LT(least, 600);
    }
}

} // namespace
} // namespace xqs
