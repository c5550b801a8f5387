// SPDX-License-Identifier: Apache-2.0
#include "model/gguf_file.h"

#include "model/gguf_reader.h"
#include "support/model_files.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cstring>
#include <random>

namespace xqs {
namespace {

using test::GgufBuilder;
using testing::AllOf;
using testing::HasSubstr;

/// Opens as a model; what it throws, as "<error name>: <message>", or "" where it opens.
std::string opening(const std::string &path) {
  try {
    GgufReader reader(path);
    return "";
  } catch (const Error &error) {
    return std::string(errorName(error.code())) + ": " + error.what();
  }
}

class GgufFileTest : public testing::Test {
protected:
  std::string open(const std::string &bytes) { return opening(test::writeFile(m_dir / "m.gguf", bytes)); }
  std::string open(const GgufBuilder &builder) { return open(builder.bytes()); }
  test::TempDir m_dir;
};

TEST_F(GgufFileTest, readsItsOwnWriter) {
  GgufBuilder b = test::tinyLlama();
  b.set("x.u64", std::uint64_t{7}).set("x.i32", -3).set("x.list", std::vector<std::int32_t>{4, -5}).set("x.yes", true);
  b.put("x.nested", 9,
        GgufBuilder::raw(9u) + GgufBuilder::raw(std::uint64_t{1}) + GgufBuilder::raw(8u) +
            GgufBuilder::raw(std::uint64_t{1}) + GgufBuilder::text("deep"));
  const GgufFile file(test::writeFile(m_dir / "m.gguf", b.bytes()));
  EXPECT_EQ(file.integer("x.u64"), 7);
  EXPECT_EQ(file.integer("x.i32"), -3);
  EXPECT_EQ(file.number("x.i32"), -3.0);
  EXPECT_EQ(file.boolean("x.yes"), true);
  EXPECT_EQ(file.string("general.name"), "tiny");
  EXPECT_THAT(file.integers("x.list"), testing::ElementsAre(4, -5));
  EXPECT_EQ(file.strings("tokenizer.ggml.merges").at(3), "hell o");
  EXPECT_EQ(file.integer("absent"), std::nullopt);
  EXPECT_THROW(file.integer("general.name"), Error);
  EXPECT_THROW(file.strings("x.list"), Error);
  const GgufTensor *down = file.find("blk.1.ffn_down.weight");
  ASSERT_NE(down, nullptr);
  EXPECT_THAT(down->dims, testing::ElementsAre(12, 8, 1, 1));
  EXPECT_EQ(down->dataBytes, 12u * 8 * 4);
  EXPECT_EQ(down->dataOffset + down->dataBytes, file.file().size());
  EXPECT_EQ(open(b), "");
  b.version = 2;
  EXPECT_EQ(open(b), "");
  b.set("general.alignment", 64u).alignment = 64;
  EXPECT_EQ(open(b), "");
}

TEST_F(GgufFileTest, refusesWhatIsNoFile) {
  EXPECT_THAT(opening(m_dir / "absent"), AllOf(HasSubstr("not-found: "), HasSubstr("no such file")));
  EXPECT_THAT(opening(""), HasSubstr("not-found: "));
  EXPECT_THAT(opening(std::string("/dev/null\0x", 11)), HasSubstr("not-found: "));
  EXPECT_THAT(opening(m_dir / "."), AllOf(HasSubstr("unreadable: "), HasSubstr("directory")));
  const std::string fifo = m_dir / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THAT(opening(fifo), AllOf(HasSubstr("unreadable: "), HasSubstr("pipe")));
  EXPECT_THAT(opening("/dev/zero"), AllOf(HasSubstr("unreadable: "), HasSubstr("device")));
  EXPECT_THAT(opening("/dev/null"), HasSubstr("device"));
  EXPECT_THAT(open(std::string()), AllOf(HasSubstr("bad-file: "), HasSubstr("m.gguf: the file is empty at byte 0: ")));
}

// Sparse, so that only the check of the header's length keeps gigabytes out of memory.
TEST_F(GgufFileTest, refusesAHeaderWithoutEnd) {
  const std::string head = "GGUF" + GgufBuilder::raw(3u) + GgufBuilder::raw(std::uint64_t{1}) +
                           GgufBuilder::raw(std::uint64_t{1}) + GgufBuilder::text("x") + GgufBuilder::raw(9u) +
                           GgufBuilder::raw(0u) + GgufBuilder::raw(std::uint64_t{1} << 30);
  const std::string path = test::writeFile(m_dir / "m.gguf", head);
  std::filesystem::resize_file(path, (std::uint64_t{1} << 30) + 4096);
  EXPECT_THAT(opening(path), AllOf(HasSubstr("bad-file: "), HasSubstr("metadata 'x' makes the header longer than")));
}

TEST_F(GgufFileTest, refusesWrongHeaders) {
  EXPECT_THAT(open("GGML" + std::string(100, '\0')), HasSubstr("not a GGUF file"));
  EXPECT_THAT(open("GG"), HasSubstr("not a GGUF file"));
  GgufBuilder b = test::tinyLlama();
  for (const std::uint32_t version : {0u, 1u, 4u, 0x03000000u}) {
    b.version = version;
    EXPECT_THAT(open(b), AllOf(HasSubstr("bad-file: "), HasSubstr("at byte 4"))) << version;
  }
  b.version = 3;
  for (const std::int64_t extra : {std::int64_t{1}, std::int64_t{1} << 40, -(std::int64_t{1} << 40)}) {
    b.extraTensors = extra;
    EXPECT_THAT(open(b), HasSubstr("bad-file: ")) << extra;
    b.extraTensors = 0, b.extraValues = extra;
    EXPECT_THAT(open(b), HasSubstr("bad-file: ")) << extra;
    b.extraValues = 0;
  }
  EXPECT_THAT(open(GgufBuilder().set("a", 1u)), HasSubstr("no tensors"));
}

TEST_F(GgufFileTest, refusesWrongMetadata) {
  const auto with = [&](std::uint32_t type, const std::string &payload) {
    return open(test::tinyLlama().put("x", type, payload));
  };
  const auto raw64 = [](std::uint64_t v) { return GgufBuilder::raw(v); };
  EXPECT_THAT(with(13, ""), HasSubstr("unknown value type 13"));
  EXPECT_THAT(with(7, "\x02"), HasSubstr("neither true nor false"));
  EXPECT_THAT(with(8, raw64(~0ull)), HasSubstr("the file ends inside metadata 'x'"));
  EXPECT_THAT(with(9, GgufBuilder::raw(99u) + raw64(0)), HasSubstr("unknown value type 99"));
  EXPECT_THAT(with(9, GgufBuilder::raw(4u) + raw64(1ull << 62)), HasSubstr("elements of metadata 'x' cannot fit"));
  EXPECT_THAT(with(9, GgufBuilder::raw(8u) + raw64(1ull << 61)), HasSubstr("cannot fit"));
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += GgufBuilder::raw(9u) + raw64(1);
  EXPECT_THAT(with(9, deep + GgufBuilder::raw(0u) + raw64(0)), HasSubstr("nests arrays too deeply"));
  EXPECT_THAT(open(test::tinyLlama().duplicate("general.name")), HasSubstr("metadata 'general.name' is there twice"));
  EXPECT_THAT(open(test::tinyLlama().set("", 1u)), HasSubstr("has no key"));
  EXPECT_THAT(open(test::tinyLlama().set("a\nb\x1b", std::string("\xff"))), ""); // odd, and harmless
  for (const std::uint32_t alignment : {0u, 3u, 48u, 0x80000000u})
    EXPECT_THAT(open(test::tinyLlama().set("general.alignment", alignment)), HasSubstr("alignment")) << alignment;
  EXPECT_THAT(open(test::tinyLlama().set("general.alignment", "x")), HasSubstr("bad-file: "));
  EXPECT_THAT(open(test::tinyLlama().set("split.count", 3u)), AllOf(HasSubstr("unsupported: "), HasSubstr("split")));
}

TEST_F(GgufFileTest, refusesWrongTensors) {
  const std::uint64_t huge = std::uint64_t{1} << 32;
  const auto with = [&](std::vector<std::uint64_t> dims, std::uint32_t type = 0, const std::string &name = "x") {
    return open(test::tinyLlama().tensor(name, std::move(dims), type, std::string(64, '\0')));
  };
  EXPECT_THAT(with({}), HasSubstr("has 0 dimensions"));
  EXPECT_THAT(with({1, 1, 1, 1, 1}), HasSubstr("has 5 dimensions"));
  EXPECT_THAT(with({0}), HasSubstr("impossible dimension 0"));
  EXPECT_THAT(with({huge, huge}), HasSubstr("impossible dimension"));
  EXPECT_THAT(with({huge, huge, huge, huge}), HasSubstr("impossible dimension"));
  EXPECT_THAT(with({huge, huge / 4}), HasSubstr("lies beyond the file"));
  EXPECT_THAT(with({17}), HasSubstr("lies beyond the file"));
  EXPECT_THAT(with({16}, 2), HasSubstr("not a multiple of Q4_0's 32"));
  EXPECT_THAT(with({256}, 20), AllOf(HasSubstr("unsupported: "), HasSubstr("tensor 'x' is stored as IQ4_NL")));
  EXPECT_THAT(with({1}, 4000), HasSubstr("type 4000"));
  EXPECT_THAT(with({16}, 0, ""), HasSubstr("has no name"));
  EXPECT_THAT(open(test::tinyLlama().offset("output_norm.weight", 4)), HasSubstr("not a multiple of 32"));
  EXPECT_THAT(open(test::tinyLlama().offset("output_norm.weight", 0)), HasSubstr("overlap"));
  EXPECT_THAT(open(test::tinyLlama().offset("output_norm.weight", std::int64_t{1} << 62)),
              HasSubstr("lies beyond the file"));
  std::string twice = test::tinyLlama().bytes();
  const std::size_t at = twice.find("blk.1.attn_norm.weight");
  twice[at + 4] = '0';
  EXPECT_THAT(open(twice), HasSubstr("tensor 'blk.0.attn_norm.weight' is there twice"));
}

// A file that ends anywhere before its last byte: a message each time.
TEST_F(GgufFileTest, refusesTruncationAnywhere) {
  const std::string whole = test::tinyLlama().bytes();
  const std::size_t header = test::tinyLlama().header().size();
  for (std::size_t i = 0; i < 240; ++i) { // 200 places in the header, 40 in the data
    const std::size_t size = i < 200 ? i * header / 200 : header + (i - 200) * (whole.size() - header) / 40;
    ASSERT_THAT(open(whole.substr(0, size)), AllOf(HasSubstr("bad-file: "), HasSubstr(" at byte "))) << size;
  }
  EXPECT_THAT(open(whole.substr(0, whole.size() - 1)), HasSubstr("bad-file: "));
}

// Damage in the header: an error or a model that can be read to its end, never a crash, a hang or another exception.
TEST_F(GgufFileTest, survivesDamage) {
  const std::string whole = test::tinyLlama().bytes();
  const std::size_t header = test::tinyLlama().header().size();
  std::mt19937 random(5);
  int refused = 0;
  for (int round = 0; round < 600; ++round) {
    std::string bytes = whole;
    for (std::size_t i = 0, n = 1 + random() % 3; i < n; ++i) {
      const std::size_t at = random() % header;
      switch (random() % 3) {
      case 0: bytes[at] = static_cast<char>(random()); break;
      case 1: bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ 1u << random() % 8); break;
      default: std::memset(bytes.data() + at, random() % 2 ? 0xff : 0, std::min<std::size_t>(8, header - at));
      }
    }
    try {
      const GgufReader reader(test::writeFile(m_dir / "m.gguf", bytes));
      for (std::size_t i = 0; i < kWeightKinds; ++i) {
        const auto weight = static_cast<Weight>(i);
        if (weight == Weight::Output && reader.config().tiedOutput) continue;
        std::vector<float> out(static_cast<std::size_t>(weightShape(reader.config(), weight).elements()));
        reader.read(weight, isPerLayer(weight) ? 0 : -1, out);
      }
      reader.tokenizer()->encode("hello \xff world");
    } catch (const Error &error) {
      ++refused;
      ASSERT_TRUE(error.code() == Code::BadFile || error.code() == Code::Unsupported) << error.what();
    }
  }
  EXPECT_GT(refused, 120);
}

} // namespace
} // namespace xqs
