// SPDX-License-Identifier: Apache-2.0
#include "model/gguf_reader.h"

#include "model/sha256.h"
#include "support/default_model.h"
#include "support/model_files.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <thread>

namespace xqs {
namespace {

using test::GgufBuilder;
using testing::AllOf;
using testing::HasSubstr;

class GgufReaderTest : public testing::Test {
protected:
  std::unique_ptr<GgufReader> open(const GgufBuilder &b) {
    return std::make_unique<GgufReader>(test::writeFile(m_dir / "m.gguf", b.bytes()));
  }
  std::string refusal(const GgufBuilder &b) {
    try {
      open(b);
      return "opened";
    } catch (const Error &error) {
      return std::string(errorName(error.code())) + ": " + error.what();
    }
  }
  test::TempDir m_dir;
};

TEST_F(GgufReaderTest, configuration) {
  const auto reader = open(test::tinyLlama());
  const ModelConfig &c = reader->config();
  EXPECT_EQ(c.name, "tiny");
  EXPECT_EQ(c.shape.layers, 2);
  EXPECT_EQ(c.shape.d, 8);
  EXPECT_EQ(c.shape.heads, 2);
  EXPECT_EQ(c.shape.kvHeads, 1);
  EXPECT_EQ(c.shape.dh, 4);
  EXPECT_EQ(c.ffn, 12);
  EXPECT_EQ(c.vocab, 261);
  EXPECT_EQ(c.contextLength, 128);
  EXPECT_EQ(c.rmsEps, 1e-5f);
  EXPECT_TRUE(c.tiedOutput);
  EXPECT_EQ(c.weightTypes, "F32 (20)");
  EXPECT_THAT(c.ropeFrequency, testing::ElementsAre(1.0, testing::DoubleNear(0.01, 1e-15)));
  EXPECT_THAT(reader->tokenizer()->encode("hello!"), testing::ElementsAre(260, 1 + '!'));
  const std::string bytes = test::tinyLlama().bytes();
  EXPECT_EQ(reader->hash(), sha256Hex(std::as_bytes(std::span(bytes))));
}

// Whatever of the file is gone when the weights are read: a message, no SIGBUS. What is still there can be read.
TEST_F(GgufReaderTest, aFileThatShrinksAfterOpening) {
  const std::uint64_t whole = test::tinyLlama().bytes().size(), header = test::tinyLlama().header().size();
  for (const std::uint64_t left : {std::uint64_t{0}, header / 2, header, (header + whole) / 2, whole - 1}) {
    SCOPED_TRACE(left);
    const auto reader = open(test::tinyLlama());
    std::filesystem::resize_file(m_dir / "m.gguf", left);
    const auto message = [](const auto &read) -> std::string {
      try {
        read();
        return "read";
      } catch (const Error &error) {
        return std::string(errorName(error.code())) + ": " + error.what();
      }
    };
    const auto shrunk = AllOf(HasSubstr("unreadable: "), HasSubstr("m.gguf: byte "),
                              HasSubstr(std::to_string(whole) + " that the file had when it was opened"));
    std::vector<float> first(261 * 8), last(12 * 8); // tensors of the file
    EXPECT_THAT(message([&] { reader->read(Weight::WDown, 1, last); }), shrunk);
    EXPECT_THAT(message([&] { reader->hash(); }), shrunk);
    const std::string embedding = message([&] { reader->read(Weight::TokenEmbedding, -1, first); });
    if (left > header + 32 + first.size() * sizeof(float))
      EXPECT_EQ(embedding, "read");
    else
      EXPECT_THAT(embedding, shrunk);
    EXPECT_THAT(reader->tokenizer()->encode("hello"), testing::ElementsAre(260));
  }
}

TEST_F(GgufReaderTest, weights) {
  GgufBuilder b = test::tinyLlama();
  std::string values;
  for (int i = 0; i < 32; ++i) values += GgufBuilder::raw(static_cast<float>(i));
  b.tensor("blk.1.attn_k.weight", {8, 4}, 0, values).tensor("output.weight", {8, 261});
  const auto reader = open(b);
  EXPECT_FALSE(reader->config().tiedOutput);
  std::vector<float> out(32);
  reader->read(Weight::Wk, 1, out);
  for (int i = 0; i < 32; ++i) EXPECT_EQ(out[static_cast<std::size_t>(i)], static_cast<float>(i)); // row-major [dkv, d]
  values.replace(20, 4, GgufBuilder::raw(std::nanf("")));
  b.tensor("blk.1.attn_k.weight", {8, 4}, 0, values);
  const auto broken = open(b);
  try {
    broken->read(Weight::Wk, 1, out);
    FAIL() << "a NaN passed";
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), Code::BadFile);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("'blk.1.attn_k.weight'"), HasSubstr("element 5")));
  }
}

TEST_F(GgufReaderTest, ropeScaling) {
  const double plain = std::pow(10000.0, -0.5);
  const auto second = [&](GgufBuilder b) { return open(b)->config().ropeFrequency.at(1) / plain; };
  EXPECT_DOUBLE_EQ(second(test::tinyLlama()), 1);
  EXPECT_DOUBLE_EQ(second(test::tinyLlama().set("llama.rope.scaling.type", "linear").set("llama.rope.scaling.factor", 4.0f)),
                   0.25);
  EXPECT_DOUBLE_EQ(second(test::tinyLlama().set("llama.rope.scale_linear", 2.0f)), 0.5);
  EXPECT_DOUBLE_EQ(second(test::tinyLlama().set("llama.rope.scaling.type", "none").set("llama.rope.scaling.factor", 4.0f)),
                   1);
  const std::string factors = GgufBuilder::raw(1.0f) + GgufBuilder::raw(8.0f);
  EXPECT_DOUBLE_EQ(second(test::tinyLlama().tensor("rope_freqs.weight", {2}, 0, factors)), 0.125);
  EXPECT_THAT(refusal(test::tinyLlama().tensor("rope_freqs.weight", {3})), HasSubstr("bad-file: "));
  EXPECT_THAT(refusal(test::tinyLlama().tensor("rope_freqs.weight", {2}, 0, std::string(8, '\0'))),
              HasSubstr("holds 0 at 0"));
  EXPECT_THAT(refusal(test::tinyLlama().set("llama.rope.scaling.type", "yarn")),
              AllOf(HasSubstr("unsupported: "), HasSubstr("'yarn'")));
  EXPECT_THAT(refusal(test::tinyLlama().set("llama.rope.scaling.factor", 0.0f)), HasSubstr("bad-file: "));
}

TEST_F(GgufReaderTest, headsOfAnotherWidth) {
  GgufBuilder b = test::tinyLlama();
  b.set("llama.attention.key_length", 6u).set("llama.attention.value_length", 6u);
  for (const std::string p : {"blk.0.", "blk.1."})
    b.tensor(p + "attn_q.weight", {8, 12})
        .tensor(p + "attn_k.weight", {8, 6})
        .tensor(p + "attn_v.weight", {8, 6})
        .tensor(p + "attn_output.weight", {12, 8});
  EXPECT_EQ(open(b)->config().shape.dh, 6);
  EXPECT_THAT(refusal(b.set("llama.attention.value_length", 4u)), HasSubstr("llama.attention.value_length"));
}

TEST_F(GgufReaderTest, refusesByName) {
  const auto unsupported = [](const char *what) { return AllOf(HasSubstr("unsupported: "), HasSubstr(what)); };
  EXPECT_THAT(refusal(test::tinyLlama().set("general.architecture", "mamba\n")), unsupported("'mamba?'"));
  EXPECT_THAT(refusal(test::tinyLlama().set("llama.expert_count", 8u)), unsupported("'llama.expert_count'"));
  EXPECT_EQ(refusal(test::tinyLlama().set("llama.expert_count", 0u)), "opened");
  EXPECT_THAT(refusal(test::tinyLlama().set("llama.attention.sliding_window", 4096u)), unsupported("sliding_window"));
  EXPECT_THAT(refusal(test::tinyLlama().set("llama.attention.causal", false)), unsupported("causal"));
  EXPECT_THAT(refusal(test::tinyLlama().set("llama.rope.dimension_count", 2u)), unsupported("rope.dimension_count"));
  EXPECT_THAT(refusal(test::tinyLlama().set("llama.attention.head_count_kv", std::vector<std::int32_t>{1, 1})),
              unsupported("head_count_kv"));
  EXPECT_THAT(refusal(test::tinyLlama().set("llama.anything_new", "on")), unsupported("llama.anything_new"));
  EXPECT_THAT(refusal(test::tinyLlama().tensor("blk.0.attn_q.bias", {8})), unsupported("'blk.0.attn_q.bias' (a bias)"));
  EXPECT_THAT(refusal(test::tinyLlama().tensor("blk.0.attn_q_norm.weight", {4})), unsupported("an additional norm"));
  EXPECT_THAT(refusal(test::tinyLlama().tensor("blk.0.ffn_up_exps.weight", {8, 12, 2})), unsupported("experts"));
  EXPECT_THAT(refusal(test::tinyLlama().set("tokenizer.ggml.model", "bert")), unsupported("'bert'"));
  EXPECT_THAT(refusal(test::tinyLlama().set("tokenizer.ggml.pre", "tekken")), unsupported("'tekken'"));
  EXPECT_THAT(refusal(test::tinyLlama().remove("tokenizer.ggml.pre")), unsupported("tokenizer.ggml.pre"));
}

TEST_F(GgufReaderTest, refusesInconsistentFiles) {
  const auto bad = [](const char *what) { return AllOf(HasSubstr("bad-file: "), HasSubstr(what)); };
  for (const char *key : {"general.architecture", "llama.block_count", "llama.context_length", "llama.embedding_length",
                          "llama.feed_forward_length", "llama.attention.head_count",
                          "llama.attention.layer_norm_rms_epsilon", "tokenizer.ggml.model", "tokenizer.ggml.tokens"})
    EXPECT_THAT(refusal(test::tinyLlama().remove(key)), bad(key));
  for (const char *tensor : {"token_embd.weight", "output_norm.weight", "blk.0.attn_v.weight", "blk.1.ffn_gate.weight"})
    EXPECT_THAT(refusal(test::tinyLlama().removeTensor(tensor)), bad(tensor));
  EXPECT_THAT(refusal(test::tinyLlama().tensor("blk.0.attn_q.weight", {8, 7})), bad("is 8 x 7, not 8 x 8"));
  EXPECT_THAT(refusal(test::tinyLlama().tensor("blk.0.attn_q.weight", {8, 8, 2})), bad("attn_q"));
  EXPECT_THAT(refusal(test::tinyLlama().tensor("output.weight", {8, 5})), bad("output.weight"));
  EXPECT_THAT(refusal(test::tinyLlama().set("llama.block_count", 4000u)), bad("'blk.2.attn_norm.weight' is missing"));
  EXPECT_THAT(refusal(test::tinyLlama().set("llama.block_count", ~0u)), bad("llama.block_count"));
  EXPECT_THAT(refusal(test::tinyLlama().set("llama.attention.head_count", 3u)), bad("heads"));
  EXPECT_THAT(refusal(test::tinyLlama().set("llama.attention.head_count", 0u)), bad("head_count"));
  EXPECT_THAT(refusal(test::tinyLlama().set("llama.attention.head_count_kv", 3u)), bad("share"));
  EXPECT_THAT(refusal(test::tinyLlama().set("llama.attention.key_length", 5u)), bad("5 channels"));
  EXPECT_THAT(refusal(test::tinyLlama().set("llama.attention.layer_norm_rms_epsilon", -1.0f)), bad("epsilon"));
  EXPECT_THAT(refusal(test::tinyLlama().set("llama.rope.freq_base", std::nanf(""))), bad("freq_base"));
  EXPECT_THAT(refusal(test::tinyLlama().set("tokenizer.ggml.tokens", std::vector<std::string>{"a"})), bad("token types"));
  EXPECT_THAT(refusal(test::tinyLlama().set("tokenizer.ggml.add_bos_token", true)), bad("bos_token_id"));
  EXPECT_THAT(refusal(test::tinyLlama().set("tokenizer.ggml.bos_token_id", 300u).set("tokenizer.ggml.add_bos_token", true)),
              bad("300 in a vocabulary of 261"));
  EXPECT_THAT(refusal(test::tinyLlama().set("tokenizer.ggml.eos_token_id", 261u)), bad("261 in a vocabulary of 261"));
  EXPECT_THAT(refusal(test::tinyLlama().set("tokenizer.ggml.eot_token_id", -1)), bad("eot_token_id"));
  EXPECT_THAT(refusal(test::tinyLlama().set("tokenizer.chat_template", 3u)), bad("chat_template"));
  EXPECT_THAT(refusal(test::tinyLlama().set("tokenizer.ggml.merges", std::vector<std::string>{"h x"})),
              bad("m.gguf: merge 0"));
  EXPECT_THAT(refusal(test::tinyLlama().set("tokenizer.ggml.model", "llama").set("tokenizer.ggml.bos_token_id", 0u)),
              bad("scores"));
}

TEST_F(GgufReaderTest, bosFollowsTheFileThenTheKind) {
  GgufBuilder b = test::tinyLlama().set("tokenizer.ggml.bos_token_id", 0u);
  EXPECT_THAT(open(b)->tokenizer()->encode("he"), testing::ElementsAre(257));
  EXPECT_THAT(open(b.set("tokenizer.ggml.add_bos_token", true))->tokenizer()->encode("he"), testing::ElementsAre(0, 257));
  b.remove("tokenizer.ggml.add_bos_token").set("tokenizer.ggml.pre", "llama-bpe");
  EXPECT_THAT(open(b)->tokenizer()->encode("he"), testing::ElementsAre(0, 257));
  EXPECT_THAT(open(b.set("tokenizer.ggml.add_bos_token", false))->tokenizer()->encode("he"), testing::ElementsAre(257));
}

TEST_F(GgufReaderTest, whatChatsNeed) {
  EXPECT_EQ(open(test::tinyLlama())->config().chatTemplate, "");
  EXPECT_TRUE(open(test::tinyLlama())->tokenizer()->specials().endTokens().empty());
  GgufBuilder b = test::tinyLlama().set("tokenizer.chat_template", "{{ a\n }}").set("tokenizer.ggml.eos_token_id", 260u);
  const auto reader = open(b.set("tokenizer.ggml.eot_token_id", 259u).set("tokenizer.ggml.bos_token_id", 0u));
  EXPECT_EQ(reader->config().chatTemplate, "{{ a\n }}");
  const SpecialTokens &specials = reader->tokenizer()->specials();
  EXPECT_THAT(specials.endTokens(), testing::ElementsAre(259, 260));
  EXPECT_EQ(specials.bos(), 0);
  EXPECT_FALSE(specials.addsBos());
}

TEST(GgufReader, smolLm2) {
  XQS_NEED_MODEL(path);
  const GgufReader reader(path);
  const ModelConfig &c = reader.config();
  EXPECT_EQ(c.shape.layers, 30);
  EXPECT_EQ(c.shape.d, 576);
  EXPECT_EQ(c.shape.heads, 9);
  EXPECT_EQ(c.shape.kvHeads, 3);
  EXPECT_EQ(c.shape.dh, 64);
  EXPECT_EQ(c.ropeBase, 100000);
  EXPECT_EQ(c.weightTypes, "Q4_1 (210), F32 (61), Q8_0 (1)");
  EXPECT_EQ(reader.tokenizer()->name(), "smollm");
  std::vector<std::jthread> threads; // the first of several callers computes it
  std::string hashes[4];
  for (std::string &hash : hashes) threads.emplace_back([&] { hash = reader.hash(); });
  threads.clear();
  for (const std::string &hash : hashes) EXPECT_EQ(hash, reader.hash());
  XQS_NEED_SHARED(shared);
  EXPECT_EQ(reader.hash(), nlohmann::json::parse(std::ifstream(shared + "/golden/smollm2-512.json"))["model_sha256"]);
}

} // namespace
} // namespace xqs
