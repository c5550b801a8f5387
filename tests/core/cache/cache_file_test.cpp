// SPDX-License-Identifier: Apache-2.0
// A cache that went through a file, or was cut, goes on with the bits of one that did not.
#include "cache/cache_file.h"

#include "engine/engine.h"
#include "model/sha256.h"
#include "support/contract_cases.h"
#include "support/model_files.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <cstring>
#include <fstream>
#include <functional>
#include <numeric>

namespace xqs {
namespace {

using test::Case;
using test::cases;
using test::modelOf;
using test::SmallModel;
using testing::HasSubstr;

std::string bytesOf(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A sequence under one policy, fed by hand.
struct Sequence {
  Sequence(SmallModel &model, const Method &method_, std::unique_ptr<Cache> cache_)
      : m(model), method(method_), engine(*model.model), cache(std::move(cache_)) {}

  /// Final hidden states of the tokens.
  std::vector<float> feed(std::span<const TokenId> more) {
    Lane lane;
    lane.cache = cache.get();
    engine.step({&lane, 1}, more);
    tokens.insert(tokens.end(), more.begin(), more.end());
    return test::values(engine.hidden(0));
  }
  void save(const std::string &path, State state) const {
    saveCache(path, *cache, method,
              {method.spec().canonical(), m.model->hash(), m.model->config().name, "random", state, tokens, {7}});
  }
  SmallModel &m;
  const Method &method;
  Engine engine;
  std::unique_ptr<Cache> cache;
  std::vector<TokenId> tokens;
};

class CacheOnDisk : public testing::TestWithParam<Case> {
protected:
  SmallModel &m = modelOf(GetParam().mha);
  PolicySpec spec = PolicySpec::parse(GetParam().policy);
  std::unique_ptr<Method> method = prepareMethod(spec, *m.model, m.calibration);
  test::TempDir dir;

  Sequence fresh(Index capacity, State state = State::Stream) {
    return {m, *method, method->makeCache({capacity, 200, state})};
  }
  Sequence loaded(const std::string &path, Index capacity) {
    const CacheFile file(path);
    Sequence s{m, *method, file.load(*method, "random", capacity, 200)};
    s.tokens = file.origin().tokens;
    return s;
  }
};

TEST_P(CacheOnDisk, GoesOnWithTheSameBits) {
  const std::vector<TokenId> tokens = test::randomTokens(400, 256, 51);
  const std::span<const TokenId> all(tokens);
  Sequence straight = fresh(0);
  std::size_t at = 0;
  for (const std::size_t count : {150u, 1u, 39u, 1u, 70u}) { // prefill, decoding, appending
    straight.feed(all.subspan(at, count));
    at += count;
    straight.save(dir / std::to_string(at), State::Stream);
  }
  const std::vector<float> expected = straight.feed(all.subspan(at, 130)), last = straight.feed(all.subspan(at + 130, 1));
  for (const std::size_t held : {150u, 151u, 190u, 191u}) {
    Sequence s = loaded(dir / std::to_string(held), held == 151 ? 300 : 0);
    EXPECT_EQ(s.tokens, std::vector(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(held)));
    EXPECT_EQ(s.cache->bytes(), footprint(cacheLayout(spec, m.model->shape()), s.cache->tokens(),
                                          {held == 151 ? 300 : static_cast<Index>(held), 200, State::Stream}));
    s.save(dir / "again", State::Stream); // nothing is lost, nothing is added
    EXPECT_EQ(bytesOf(dir / "again"), bytesOf(dir / std::to_string(held)));
    s.feed(all.subspan(held, at - held));
    EXPECT_EQ(s.feed(all.subspan(at, 130)), expected) << held;
    EXPECT_EQ(s.feed(all.subspan(at + 130, 1)), last) << held;
  }
}

TEST_P(CacheOnDisk, GoesOnWithTheSameBitsInStateAll) {
  constexpr std::size_t kWhole = 384; // groups of 16, 32, 48 and 128
  const std::vector<TokenId> tokens = test::randomTokens(kWhole + 21, 256, 52);
  const std::span<const TokenId> all(tokens);
  Sequence straight = {m, *method, method->makeCache({kWhole + 21, kWhole, State::All})};
  straight.feed(all.first(kWhole));
  straight.save(dir / "whole", State::All);
  Sequence s = loaded(dir / "whole", kWhole + 21);
  EXPECT_EQ(s.feed(all.subspan(kWhole)), straight.feed(all.subspan(kWhole)));
  straight.save(dir / "open", State::All); // a group is open
  loaded(dir / "open", 0).save(dir / "again", State::All);
  EXPECT_EQ(bytesOf(dir / "again"), bytesOf(dir / "open"));
}

/// What a refused length is answered with.
void expectRefusal(Cache &cache, Index length) {
  try {
    cache.truncate(length);
    ADD_FAILURE() << "was cut to " << length;
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), Code::Usage);
    EXPECT_THAT(error.what(), HasSubstr("nearest lengths possible"));
  }
}

TEST_P(CacheOnDisk, ACutCacheIsThatOfTheFirstTokensAlone) {
  const std::vector<TokenId> tokens = test::randomTokens(150, 256, 53), other = test::randomTokens(60, 256, 54);
  for (const Index held : {70, 150}) {
    Sequence whole = fresh(40);
    whole.feed(std::span(tokens).first(40));
    whole.feed(std::span(tokens).first(static_cast<std::size_t>(held)).subspan(40));
    whole.save(dir / "whole", State::Stream);
    for (Index length = 0; length <= held; ++length) {
      SCOPED_TRACE(std::to_string(held) + " to " + std::to_string(length));
      if (!whole.cache->canTruncate(length)) {
        expectRefusal(*whole.cache, length);
        continue;
      }
      Sequence cut = loaded(dir / "whole", 40);
      cut.cache->truncate(length);
      cut.tokens.resize(static_cast<std::size_t>(length));
      EXPECT_EQ(cut.cache->bytes(), footprint(cacheLayout(spec, m.model->shape()), length, {held, 200, State::Stream}));
      if (length % 16 != 0 && length != held - 3) continue; // enough of the dear part
      Sequence alone = fresh(40);
      if (length > 0) alone.feed(cut.tokens);
      cut.save(dir / "cut", State::Stream), alone.save(dir / "alone", State::Stream);
      EXPECT_EQ(bytesOf(dir / "cut"), bytesOf(dir / "alone"));
      EXPECT_EQ(cut.feed(std::span(other).first(37)), alone.feed(std::span(other).first(37)));
      EXPECT_EQ(cut.feed(std::span(other).subspan(37)), alone.feed(std::span(other).subspan(37)));
    }
    whole.cache->truncate(0); // what it grew by is given back
    EXPECT_EQ(whole.cache->bytes(), footprint(cacheLayout(spec, m.model->shape()), 0, {40, 200, State::Stream}));
  }
}

TEST_P(CacheOnDisk, ACutCacheIsThatOfTheFirstTokensAloneInStateAll) {
  const std::vector<TokenId> tokens = test::randomTokens(150, 256, 53);
  Sequence whole{m, *method, method->makeCache({150, 150, State::All})};
  whole.feed(tokens);
  whole.save(dir / "whole", State::All);
  for (const Index length : {10, 48, 64, 96, 128, 140, 144, 147, 149}) {
    SCOPED_TRACE(length);
    Sequence cut = loaded(dir / "whole", 150);
    if (!cut.cache->canTruncate(length)) {
      expectRefusal(*cut.cache, length);
      continue;
    }
    cut.cache->truncate(length);
    cut.tokens.resize(static_cast<std::size_t>(length));
    Sequence alone{m, *method, method->makeCache({length, length, State::All})};
    alone.feed(cut.tokens);
    cut.save(dir / "cut", State::All), alone.save(dir / "alone", State::All);
    EXPECT_EQ(bytesOf(dir / "cut"), bytesOf(dir / "alone"));
  }
}

INSTANTIATE_TEST_SUITE_P(All, CacheOnDisk, testing::ValuesIn(cases()));

TEST(Truncate, BlocksThatAreGivenBackAreTakenAgain) {
  for (const bool mha : {false, true})
    for (const char *policy : {"fp16", "kivi-star:bits=2,group=32,residual=0,outlier_channels=2",
                               "xquant-cl:bits=2,group=32", "xquant-cl:bits=4,group=32,source=x,domain=residual"}) {
      SCOPED_TRACE(policy + std::string(mha ? " on MHA" : " on GQA"));
      SmallModel &m = modelOf(mha);
      const PolicySpec spec = PolicySpec::parse(policy);
      const auto method = prepareMethod(spec, *m.model, m.calibration);
      const std::vector<TokenId> tokens = test::randomTokens(1200, 256, 58);
      const auto feed = [&](Sequence &s, std::size_t to) {
        std::vector<float> last;
        for (std::size_t at = s.tokens.size(); at < to; at = s.tokens.size())
          last = s.feed(std::span(tokens).subspan(at, std::min<std::size_t>(200, to - at)));
        return last;
      };
      Sequence cut{m, *method, method->makeCache({40, 200, State::Stream})};
      feed(cut, 1150); // three blocks behind what was reserved
      Index length = 600;
      while (!cut.cache->canTruncate(length)) --length;
      ASSERT_GT(length, 560);
      cut.cache->truncate(length);
      cut.tokens.resize(static_cast<std::size_t>(length));
      EXPECT_EQ(cut.cache->bytes(), footprint(cacheLayout(spec, m.model->shape()), length, {40, 200, State::Stream}));
      Sequence alone{m, *method, method->makeCache({40, 200, State::Stream})};
      feed(alone, static_cast<std::size_t>(length));
      EXPECT_EQ(feed(cut, 1200), feed(alone, 1200));
    }
}

TEST(Truncate, LengthsThatArePossible) {
  SmallModel &m = modelOf(false);
  const auto lengths = [&](const char *policy, Index held, State state = State::Stream) {
    const auto method = prepareMethod(PolicySpec::parse(policy), *m.model, m.calibration);
    Sequence s{m, *method, method->makeCache({held, held, state})};
    s.feed(test::randomTokens(held, 256, 55));
    std::vector<Index> all;
    for (Index i = 0; i <= held; ++i)
      if (s.cache->canTruncate(i)) all.push_back(i);
    EXPECT_FALSE(s.cache->canTruncate(-1) || s.cache->canTruncate(held + 1));
    return all;
  };
  std::vector<Index> any(71);
  std::iota(any.begin(), any.end(), 0);
  for (const char *policy : {"fp16", "low-rank:rank=16", "xquant:bits=2,group=32,source=x",
                             "xquant-cl:bits=2,group=32,source=x", "kivi:bits=2,residual=128"})
    EXPECT_EQ(lengths(policy, 70), any) << policy;
  const std::vector<Index> groups = {0, 32, 64, 65, 66, 67, 68, 69, 70};
  for (const char *policy : {"kivi-star:bits=2,group=32", "xquant:bits=2,group=32,source=latent",
                             "xquant-cl:bits=2,group=32,source=x,delta_axis=channel"}) {
    EXPECT_EQ(lengths(policy, 70), groups) << policy;
    EXPECT_EQ(lengths(policy, 70, State::All), groups) << policy;
  }
  EXPECT_EQ(lengths("xquant:bits=2,group=32,source=x,residual=7", 70), (std::vector<Index>{0, 70}));
  EXPECT_EQ(lengths("xquant:bits=2,group=32,source=x,residual=7", 70, State::All), any);
}

class BadCacheFile : public testing::Test {
protected:
  SmallModel &m = modelOf(false);
  std::unique_ptr<Method> method = make("xquant-cl:bits=2,group=32,source=x,outlier_channels=2,delta_axis=channel");
  test::TempDir dir;
  std::string path = dir / "cache", whole = written();

  std::unique_ptr<Method> make(const std::string &policy, SmallModel *of = nullptr) {
    SmallModel &model = of != nullptr ? *of : m;
    return prepareMethod(PolicySpec::parse(policy), *model.model, model.calibration);
  }
  std::string written() {
    Sequence s{m, *method, method->makeCache({45, 45, State::Stream})};
    s.feed(test::randomTokens(45, 256, 56));
    s.save(path, State::Stream);
    return bytesOf(path);
  }
  /// The one error that loading ends with.
  std::string refusal(const std::string &bytes, Code code, const Method *other = nullptr,
                      const std::string &calibration = "random") {
    try {
      CacheFile(test::writeFile(dir / "bad", bytes)).load(other != nullptr ? *other : *method, calibration, 0, 1);
    } catch (const Error &error) {
      EXPECT_EQ(errorName(error.code()), std::string(errorName(code))) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "was loaded";
    return "";
  }
};

TEST_F(BadCacheFile, CutAnywhere) {
  for (std::size_t size = 0; size < whole.size(); size += size < 600 || size + 200 > whole.size() ? 1 : 37) {
    const std::string what = refusal(whole.substr(0, size), Code::BadFile);
    EXPECT_THAT(what, HasSubstr(size == 0 ? "not a cache file" : "truncated")) << size;
  }
  EXPECT_THAT(refusal(whole + "x", Code::BadFile), HasSubstr("1 bytes behind"));
}

TEST_F(BadCacheFile, AnyByteFlipped) {
  for (std::size_t at = 0; at < whole.size(); at += at < 600 || at + 200 > whole.size() ? 1 : 37)
    for (const char flip : {'\x01', '\x80'}) {
      std::string bytes = whole;
      bytes[at] = static_cast<char>(bytes[at] ^ flip);
      refusal(bytes, at >= 8 && at < 12 ? Code::Unsupported : Code::BadFile);
    }
}

TEST_F(BadCacheFile, RightInItselfButOfSomethingElse) {
  SmallModel otherModel(std::string(test::kGqaModel) + ",context=512,residual=0.5");
  const auto onOther = make("xquant:bits=4", &otherModel), otherPolicy = make("xquant:bits=4");
  EXPECT_THAT(refusal(whole, Code::Usage, onOther.get()), HasSubstr("another model"));
  EXPECT_THAT(refusal(whole, Code::Usage, otherPolicy.get()), HasSubstr("xquant:bits=4"));
  EXPECT_THAT(refusal(whole, Code::Usage, nullptr, "another text"), HasSubstr("calibration"));
}

/// Lies with a right checksum.
TEST_F(BadCacheFile, LiesAreFoundBehindARightChecksum) {
  const auto lied = [&](const std::function<void(nlohmann::json &, std::string &)> &lie, std::uint64_t payload = 0) {
    std::uint32_t size = 0;
    std::memcpy(&size, whole.data() + 12, sizeof size);
    nlohmann::json header = nlohmann::json::parse(whole.substr(24, size));
    std::string rows = whole.substr(24 + size, whole.size() - 24 - size - 64);
    lie(header, rows);
    std::string bytes = whole.substr(0, 24);
    const std::string text = header.dump();
    size = static_cast<std::uint32_t>(text.size());
    payload = payload != 0 ? payload : rows.size();
    std::memcpy(bytes.data() + 12, &size, sizeof size);
    std::memcpy(bytes.data() + 16, &payload, sizeof payload);
    bytes += text + rows;
    return bytes + sha256Hex(std::as_bytes(std::span(bytes)));
  };
  using nlohmann::json;
  ASSERT_EQ(lied([](json &, std::string &) {}), whole); // nothing but the lie is wrong
  for (const json &tokens :
       {json(44), json(46), json(0), json(-1), json(UINT64_MAX), json(UINT64_MAX / 4), json("45"), json()})
    refusal(lied([&](json &header, std::string &) { header["tokens"] = tokens; }), Code::BadFile);
  for (const char *key : {"policy", "model", "calibration", "state", "tokens", "next"})
    refusal(lied([&](json &header, std::string &) { header.erase(key); }), Code::BadFile);
  refusal(lied([](json &header, std::string &) { header = json::array(); }), Code::BadFile);
  refusal(lied([](json &header, std::string &) { header["state"] = "some"; }), Code::BadFile);
  refusal(lied([](json &header, std::string &) { header["policy"] = "plan:@/etc/passwd"; }), Code::BadFile);
  refusal(lied([](json &header, std::string &) { header["policy"] = "zquant"; }), Code::BadFile);
  refusal(lied([](json &, std::string &rows) { rows.pop_back(); }), Code::BadFile);
  refusal(lied([](json &, std::string &rows) { rows[2] = 1; }), Code::BadFile); // token 65536 and more
  for (const std::uint64_t payload : {std::uint64_t{1}, UINT64_MAX, UINT64_MAX - 100, std::uint64_t{1} << 50})
    refusal(lied([](json &, std::string &) {}, payload), Code::BadFile);
}

TEST_F(BadCacheFile, NothingIsLeftWhereItCannotBeWritten) {
  const auto unwritable = [&](const std::string &to) {
    Sequence s{m, *method, method->makeCache({0, 5, State::Stream})};
    s.feed(test::randomTokens(5, 256, 57));
    try {
      s.save(to, State::Stream);
      ADD_FAILURE() << to << " was written";
    } catch (const Error &error) {
      EXPECT_EQ(error.code(), Code::StoreUnwritable);
    }
  };
  unwritable(dir / "no/such/folder/cache");
  std::filesystem::create_directory(dir / "folder");
  unwritable(dir / "folder");
  for (const auto &entry : std::filesystem::directory_iterator(dir / "."))
    EXPECT_TRUE(entry.path().filename() == "folder" || entry.path().filename() == "cache") << entry.path();
}

} // namespace
} // namespace xqs
