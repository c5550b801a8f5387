// SPDX-License-Identifier: Apache-2.0
#include "model/model.h"

#include "model/weights.h"
#include "support/default_model.h"

#include <gmock/gmock.h>

#include <chrono>
#include <cstring>
#include <iostream>
#include <thread>

namespace xqs {
namespace {

/// Memory only. Device-like where the host may not touch it: then all traffic must come from the thread that made it.
class MemoryBackend final : public Backend {
public:
  explicit MemoryBackend(bool hostVisible, Index limitBytes = Index{1} << 40)
      : m_hostVisible(hostVisible), m_left(limitBytes) {}
  const char *name() const override { return "memory"; }
  std::string device() const override { return "memory"; }
  bool hostVisible() const override { return m_hostVisible; }
  void upload(Queue, std::byte *dst, const void *src, Index bytes) override {
    EXPECT_EQ(std::this_thread::get_id(), m_thread);
    std::memcpy(dst, src, static_cast<std::size_t>(bytes));
    ++uploads;
  }
  void download(Queue, void *dst, const std::byte *src, Index bytes) override {
    std::memcpy(dst, src, static_cast<std::size_t>(bytes));
  }
  void copy(Queue, ConstView, View) override {}
  int uploads = 0;

protected:
  std::byte *allocateBytes(Index bytes, Purpose, Placement) override {
    if ((m_left -= bytes) < 0) return nullptr;
    return static_cast<std::byte *>(std::calloc(static_cast<std::size_t>(bytes), 1));
  }
  void releaseBytes(const Buffer &buffer) noexcept override { std::free(buffer.data()); }

private:
  bool m_hostVisible;
  Index m_left;
  std::thread::id m_thread = std::this_thread::get_id();
};

constexpr const char *kSmall = "synthetic:layers=3,d=24,heads=4,kv_heads=2,ffn=40,head_dim=10,vocab=50";

void expectEqual(ConstView view, const ModelReader &reader, Weight weight, Index layer) {
  const WeightShape shape = weightShape(reader.config(), weight);
  ASSERT_EQ(view.rows, shape.rows);
  ASSERT_EQ(view.cols, shape.cols);
  std::vector<float> want(static_cast<std::size_t>(shape.elements()));
  reader.read(weight, layer, want);
  EXPECT_EQ(std::memcmp(view.data, want.data(), want.size() * sizeof(float)), 0) << static_cast<int>(weight);
}

TEST(Model, loadsEveryWeightOnEveryKindOfBackend) {
  const auto reader = openModel(kSmall);
  for (const bool hostVisible : {true, false}) {
    MemoryBackend backend(hostVisible);
    {
      double last = 0;
      const auto model = Model::load(*reader, backend, [&](double fraction) {
        EXPECT_GT(fraction, last);
        last = fraction;
      });
      EXPECT_DOUBLE_EQ(last, 1);
      expectEqual(model->tokenEmbedding(), *reader, Weight::TokenEmbedding, -1);
      expectEqual(model->outputNorm(), *reader, Weight::OutputNorm, -1);
      expectEqual(model->output(), *reader, Weight::Output, -1);
      for (Index i = 0; i < 3; ++i) {
        const LayerWeights &w = model->layer(i);
        expectEqual(w.attentionNorm, *reader, Weight::AttentionNorm, i);
        expectEqual(w.wq, *reader, Weight::Wq, i);
        expectEqual(w.wk, *reader, Weight::Wk, i);
        expectEqual(w.wv, *reader, Weight::Wv, i);
        expectEqual(w.wo, *reader, Weight::Wo, i);
        expectEqual(w.ffnNorm, *reader, Weight::FfnNorm, i);
        expectEqual(w.wGate, *reader, Weight::WGate, i);
        expectEqual(w.wUp, *reader, Weight::WUp, i);
        expectEqual(w.wDown, *reader, Weight::WDown, i);
      }
      EXPECT_EQ(backend.allocated(Purpose::Weights), model->parameters() * 4);
      EXPECT_EQ(backend.uploads, hostVisible ? 0 : 3 + 3 * 9);
      EXPECT_EQ(model->hash(), reader->hash());
    }
    EXPECT_EQ(backend.allocated(Purpose::Weights), 0);
  }
}

TEST(Model, cancelledOrOutOfMemoryLeavesNothingBehind) {
  const auto reader = openModel(kSmall);
  MemoryBackend backend(true);
  std::stop_source stop;
  try {
    Model::load(
        *reader, backend, [&](double) { stop.request_stop(); }, stop.get_token());
    FAIL() << "not cancelled";
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), Code::Cancelled);
  }
  EXPECT_EQ(backend.allocated(Purpose::Weights), 0);
  MemoryBackend tight(true, 20000);
  try {
    Model::load(*reader, tight);
    FAIL() << "more memory than there is";
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), Code::OutOfMemory);
  }
  EXPECT_EQ(tight.allocated(Purpose::Weights), 0);
}

TEST(Model, loadsSmolLm2) {
  XQS_NEED_MODEL(path);
  MemoryBackend backend(true);
  const auto start = std::chrono::steady_clock::now();
  const auto model = Model::load(*openModel(path), backend);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::cout << "loaded " << model->parameters() << " parameters in " << seconds.count() << " s\n";
  EXPECT_EQ(model->parameters(), 134515008);
  EXPECT_EQ(model->output().data, model->tokenEmbedding().data);
}

} // namespace
} // namespace xqs
