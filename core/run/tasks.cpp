// SPDX-License-Identifier: Apache-2.0
#include "run/tasks.h"

#include "error.h"
#include "model/random.h"

#include <fmt/format.h>

#include <algorithm>

namespace xqs {
namespace {

constexpr const char *kIntroduction =
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize it. I will quiz you about the "
    "important information there.";
constexpr std::string_view kFiller[] = {" The grass is green.", " The sky is blue.", " The sun is yellow.", " Here we go.",
                                        " There and back again."};
constexpr const char *kKeySentence = " The pass key is {0}. Remember it. {0} is the pass key.";
constexpr const char *kQuestion = " What is the pass key? The pass key is";

std::string_view filler(Index sentence) { return kFiller[static_cast<std::size_t>(sentence) % std::size(kFiller)]; }

std::size_t fillerBytes(Index sentences) {
  std::size_t bytes = 0;
  for (Index i = 0; i < sentences; ++i) bytes += filler(i).size();
  return bytes;
}

/// Sentences before the key: their length comes nearest to `depth` of all filler.
Index sentencesBefore(Index sentences, double depth) {
  const double wanted = depth * static_cast<double>(fillerBytes(sentences));
  double bytes = 0;
  Index before = 0;
  while (before < sentences && bytes + 0.5 * static_cast<double>(filler(before).size()) < wanted)
    bytes += static_cast<double>(filler(before++).size());
  return before;
}

struct Prompt {
  std::string beforeKey, rest;
  std::string text() const { return beforeKey + rest; }
};

Prompt write(Index sentences, double depth, const std::string &key) {
  Prompt prompt{kIntroduction, fmt::format(fmt::runtime(kKeySentence), key)};
  const Index before = sentencesBefore(sentences, depth);
  for (Index i = 0; i < sentences; ++i) (i < before ? prompt.beforeKey : prompt.rest) += filler(i);
  prompt.rest += kQuestion;
  return prompt;
}

} // namespace

CopyTask makeCopyTask(const Tokenizer &tokenizer, Index distance, std::uint64_t seed, std::uint64_t trial) {
  if (distance < 2) throw Error(Code::Usage, fmt::format("the copy task needs a distance of at least 2, not {}", distance));
  std::vector<TokenId> normal;
  for (TokenId id = 0; id < tokenizer.vocabSize(); ++id)
    if (tokenizer.specials().type(id) == TokenType::Normal) normal.push_back(id);
  if (normal.empty())
    throw Error(Code::Unsupported, "the copy task needs a vocabulary with normal tokens; use another model");

  CopyTask task{tokenizer.encode(""), distance, 0};
  const auto begin = static_cast<Index>(task.tokens.size());
  Random random(mix(seed) + trial);
  for (Index i = 0; i < distance; ++i) task.tokens.push_back(normal[random.below(normal.size())]);
  for (Index i = 0; i < distance; ++i) task.tokens.push_back(TokenId{task.tokens[static_cast<std::size_t>(begin + i)]});
  task.firstScored = begin + distance + 1;
  return task;
}

PasskeyTask makePasskeyTask(const Tokenizer &tokenizer, const PasskeySettings &settings) {
  if (!(settings.depth >= 0 && settings.depth <= 1))
    throw Error(Code::Usage, fmt::format("the depth of a passkey is 0 to 1, not {}", settings.depth));
  PasskeyTask task;
  task.key = fmt::format("{}", 10000 + Random(mix(settings.seed) + settings.trial).below(90000));
  const auto prompt = [&](Index sentences) { return write(sentences, settings.depth, task.key); };
  const auto size = [&](Index sentences) { return static_cast<Index>(tokenizer.encode(prompt(sentences).text()).size()); };
  if (const Index least = size(0); least > settings.tokens)
    throw Error(Code::Usage, fmt::format("a passkey prompt has at least {} tokens, not {}", least, settings.tokens));

  // The most sentences that fit: `fits` do, `tooMany` do not.
  Index fits = 0, tooMany = 1;
  while (size(tooMany) <= settings.tokens) {
    fits = tooMany;
    tooMany *= 2;
  }
  while (tooMany - fits > 1) {
    const Index middle = fits + (tooMany - fits) / 2;
    (size(middle) <= settings.tokens ? fits : tooMany) = middle;
  }

  const Prompt text = prompt(fits);
  task.prompt = tokenizer.encode(text.text());
  task.keyAt = static_cast<Index>(tokenizer.encode(text.beforeKey).size());
  const std::vector<TokenId> answered = tokenizer.encode(text.text() + " " + task.key);
  const auto [own, whole] = std::ranges::mismatch(task.prompt, answered);
  if (own != task.prompt.end())
    throw Error(Code::Unsupported,
                "this tokenizer joins the end of the passkey question with the answer; use another model");
  task.answer.assign(whole, answered.end());
  return task;
}

} // namespace xqs
