// SPDX-License-Identifier: Apache-2.0
#include "analysis/system_model.h"
#include "cache/work.h"
#include "error.h"
#include "model/shapes.h"
#include "model/weights.h"

#include <gtest/gtest.h>

#include <cmath>

namespace xqs {
namespace {

const ModelShape kMha = builtInShape("llama-2-7b").shape, kGqa = builtInShape("llama-3.1-8b").shape; // d 4096; dkv 1024
constexpr Index kTokens = 1 << 15; // whole groups: every token is packed
constexpr RebuildForm kRebuilt = RebuildForm::Rebuilt, kV = RebuildForm::AbsorbedV, kKv = RebuildForm::AbsorbedKv;

/// Of a layer in the middle of the model, per past token.
struct PerToken {
  double bytes = 0, flops = 0;
};
PerToken perToken(const LayerPlan &plan, const ModelShape &shape, RebuildForm form) {
  const LayerCost cost = layerCost(plan, shape, kTokens, form);
  return {cost.bytes() / kTokens, cost.tensorFlops() / kTokens};
}
LayerPlan planOf(const std::string &policy, const ModelShape &shape) {
  return layerPlan(PolicySpec::parse(policy), shape, shape.layers / 2);
}
PerToken perToken(const std::string &policy, const ModelShape &shape, RebuildForm form = kV) {
  return perToken(planOf(policy, shape), shape, form);
}

const std::string kXquant = "xquant:bits=2,first_layers=0", kKivi2 = "kivi-star:bits=2,first_layers=0",
                  kCl = "xquant-cl:bits=2,accumulator=first_bits"; // eb = 4

/// Slim attention (arXiv 2503.05840): K alone, before RoPE, and V = K (Wk^-1 Wv). Not in the registry: its plan is data.
LayerPlan slimPlan(const ModelShape &shape) {
  LayerPlan plan = planOf(kXquant, shape);
  plan.tensors.front().source = Source::K;
  plan.k = {0, Map::None}, plan.v = {0, Map::Wv};
  return plan;
}

// The counted table, e = 2, group 128: bytes and FLOPs of matrix products a past token and layer.
TEST(SystemModel, CountsWhatEachFormMovesAndMultiplies) {
  const struct {
    const char *name;
    std::string policy;
    RebuildForm form;
    double mhaBytes, gqaBytes, mhaFlops, gqaFlops;
  } kTable[] = {
      {"FP16 KV", "fp16", kV, 16384, 4096, 262144, 65536},
      {"KIVI-4", "kivi-star:bits=4,first_layers=0", kV, 4352, 1088, 262144, 65536},
      {"KIVI-2", kKivi2, kV, 2304, 576, 262144, 65536},
      {"XQuant, K and V rebuilt", kXquant, kRebuilt, 1152, 576, 67.4e6, 4.26e6},
      {"XQuant, V absorbed", kXquant, kV, 1152, 576, 33.9e6, 2.2e6},
      {"XQuant, K absorbed too", kXquant, kKv, 1152, 576, 0.52e6, 0.13e6},
  };
  for (const auto &row : kTable) {
    const PerToken mha = perToken(row.policy, kMha, row.form), gqa = perToken(row.policy, kGqa, row.form);
    EXPECT_DOUBLE_EQ(mha.bytes, row.mhaBytes) << row.name;
    EXPECT_DOUBLE_EQ(gqa.bytes, row.gqaBytes) << row.name;
    EXPECT_NEAR(mha.flops, row.mhaFlops, 0.01 * row.mhaFlops) << row.name;
    EXPECT_NEAR(gqa.flops, row.gqaFlops, 0.01 * row.gqaFlops) << row.name;
  }
}

TEST(SystemModel, CountsChainsAndSlimAttention) {
  const PerToken mha = perToken(kCl, kMha), gqa = perToken(kCl, kGqa), slim = perToken(slimPlan(kMha), kMha, kV);
  EXPECT_DOUBLE_EQ(mha.bytes, 5504); // the sum is read and written at 4.25 bits
  EXPECT_DOUBLE_EQ(gqa.bytes, 4928); // more than FP16 KV
  EXPECT_NEAR(mha.flops, 33.9e6, 0.05e6);
  EXPECT_NEAR(gqa.flops, 25.5e6, 0.05e6);
  EXPECT_DOUBLE_EQ(slim.bytes, 1152);
  EXPECT_NEAR(slim.flops, 0.39e6, 0.01e6);
  // A base writes the sum and reads none; the default sum is FP32.
  const LayerCost base = layerCost(layerPlan(PolicySpec::parse(kCl), kMha, 2), kMha, kTokens, kV);
  EXPECT_DOUBLE_EQ(base.accumulatorBytes, 4.25 / 8 * 4096 * kTokens);
  EXPECT_DOUBLE_EQ(layerCost(planOf("xquant-cl:bits=2", kMha), kMha, kTokens, kV).accumulatorBytes,
                   2.0 * 4 * 4096 * kTokens);
}

TEST(SystemModel, OpenTokensAreFp16AndTilesArePadded) {
  // One token beyond the last whole group: K of a group of 1 is open, V is packed at once.
  const double whole = layerCost(planOf(kKivi2, kGqa), kGqa, kTokens, kV).cacheBytes;
  const double more = layerCost(planOf(kKivi2, kGqa), kGqa, kTokens + 1, kV).cacheBytes;
  EXPECT_DOUBLE_EQ(more - whole, 2 * 1024 + 2.25 / 8 * 1024);
  // Four query heads a KV head take a tile of 16 rows on a GPU, four on a CPU; a trace counts four.
  const LayerCost gpu = layerCost(planOf("fp16", kGqa), kGqa, 1, kV, 16),
                  cpu = layerCost(planOf("fp16", kGqa), kGqa, 1, kV, 1);
  EXPECT_DOUBLE_EQ(gpu.tensorFlops(), 4 * cpu.tensorFlops());
  EXPECT_DOUBLE_EQ(gpu.flops(), cpu.tensorFlops());
  EXPECT_DOUBLE_EQ(gpu.flops(), 2 * 2 * 32 * 128);
}

// Reading and rebuilding, ns a past token and layer on an H100 SXM.
TEST(SystemModel, RebuildingIsSlowerThanReadingOnAnH100) {
  const Hardware &h100 = hardwarePreset("h100-sxm");
  const auto ns = [&](const std::string &policy, const ModelShape &shape) {
    const PerToken cost = perToken(policy, shape);
    return 1e9 * rooflineSeconds(h100, cost.bytes, cost.flops);
  };
  EXPECT_NEAR(ns("fp16", kMha), 5.75, 0.01);
  EXPECT_NEAR(ns("fp16", kGqa), 1.44, 0.005);
  EXPECT_NEAR(ns(kKivi2, kMha), 0.81, 0.005);
  EXPECT_NEAR(ns(kKivi2, kGqa), 0.20, 0.005);
  EXPECT_NEAR(ns(kXquant, kMha), 52.8, 0.05);
  EXPECT_NEAR(ns(kXquant, kGqa), 3.4, 0.05);
  EXPECT_NEAR(ns(kCl, kMha), 52.8, 0.05);
  EXPECT_NEAR(ns(kCl, kGqa), 39.6, 0.05);
  // FP16 KV in the host's memory, beside XQuant on the device.
  EXPECT_NEAR(1e9 * perToken("fp16", kMha).bytes / h100.reachedLinkRate(), 298, 0.5);
  EXPECT_NEAR(1e9 * perToken("fp16", kGqa).bytes / h100.reachedLinkRate(), 74, 0.5);
}

// arXiv 2508.10395 sec. 3.4.
TEST(PaperFormulas, LongestContextsAreThePapers) {
  const double ridge = hardwarePreset("h100-pcie").ridge();
  EXPECT_DOUBLE_EQ(ridge, 378);
  using Line = PaperFormulas::GqaLine;
  EXPECT_NEAR(PaperFormulas(kMha).longestContext(2, ridge, Line::Printed), 2281, 0.5); // 2.3K
  EXPECT_EQ(PaperFormulas(kMha).longestContext(2, ridge, Line::BothLatents),
            PaperFormulas(kMha).longestContext(2, ridge, Line::Printed));
  EXPECT_NEAR(PaperFormulas(kGqa).longestContext(2, ridge, Line::Printed), 40.6e3, 50);
  EXPECT_NEAR(PaperFormulas(kGqa).longestContext(2, ridge, Line::BothLatents), 41.6e3, 50);
  EXPECT_TRUE(std::isinf(PaperFormulas(kGqa).longestContext(2, 1e9, Line::Printed))); // bytes are the limit at any length
}

TEST(PaperFormulas, AgreeWithThePlansOfTheMethods) {
  const double l = kTokens;
  for (const ModelShape &shape : {kMha, kGqa}) {
    const PaperFormulas paper(shape);
    const auto cost = [&](const std::string &policy) { return layerCost(planOf(policy, shape), shape, kTokens, kRebuilt); };
    EXPECT_DOUBLE_EQ(cost(kXquant).rebuildFlops, paper.rebuildFlops(l));
    // Scales and zeros take a quarter of a bit an element, which the paper leaves out.
    EXPECT_DOUBLE_EQ(cost(kXquant).cacheBytes * 2 / 2.25, paper.readBytes(l, 2));
    EXPECT_DOUBLE_EQ(cost(kKivi2).cacheBytes * 2 / 2.25, paper.kvReadBytes(l, 2));
    EXPECT_DOUBLE_EQ(cost(kCl).accumulatorBytes * 4 / 4.25, paper.accumulatorBytes(l, 4));
  }
  const auto chain = [&](const ModelShape &shape) {
    return layerCost(planOf(kCl, shape), shape, kTokens, kRebuilt).rebuildFlops;
  };
  EXPECT_DOUBLE_EQ(chain(kGqa), PaperFormulas(kGqa).chainFlops(l));
  EXPECT_DOUBLE_EQ(chain(kMha) + 2 * l * 4096, PaperFormulas(kMha).chainFlops(l)); // adding a delta is no product
  // Weights: 12 d^2 elements are Llama-2-7B's 4 d^2 and three matrices of 11008 d, rounded.
  EXPECT_NEAR(PaperFormulas(kMha).weightBytes(),
              static_cast<double>(layerWeightBytes(shapeConfig(builtInShape("llama-2-7b")), DType::F16)),
              0.01 * PaperFormulas(kMha).weightBytes());
}

StepPrediction predict(const char *gpu, const char *shape, const std::string &policy, Index context, Index batch) {
  return StepModel(PolicySpec::parse(policy), shapeConfig(builtInShape(shape))).predict(hardwarePreset(gpu), context, batch);
}

TEST(StepModel, AddsWeightsAndCachesUp) {
  const ModelConfig config = shapeConfig(builtInShape("llama-3.1-8b"));
  const StepPrediction one = predict("h100-sxm", "llama-3.1-8b", "fp16", 8192, 1);
  const StepPrediction four = predict("h100-sxm", "llama-3.1-8b", "fp16", 8192, 4);
  const double embedding = 2.0 * 128256 * 4096; // read a row a sequence
  EXPECT_NEAR(one.weightBytes, static_cast<double>(weightBytes(config, DType::F16)) - embedding, 1e5);
  EXPECT_DOUBLE_EQ(one.cache.cacheBytes, static_cast<double>(fp16KvBytes(config.shape, 8192)));
  EXPECT_DOUBLE_EQ(four.cache.cacheBytes, 4 * one.cache.cacheBytes);
  EXPECT_DOUBLE_EQ(four.weightBytes, one.weightBytes);
  EXPECT_NEAR(one.seconds, one.bytes() / hardwarePreset("h100-sxm").reachedMemoryRate(), 1e-9); // bytes are the limit
  EXPECT_NEAR(four.memoryBytes - one.memoryBytes, 3 * one.cache.cacheBytes, 1);
  // From the host's memory the link is the limit, and everything but the logits hides behind it.
  const double link = one.cache.cacheBytes / hardwarePreset("h100-sxm").reachedLinkRate();
  EXPECT_NEAR(one.hostSeconds, link + embedding / hardwarePreset("h100-sxm").reachedMemoryRate(), 1e-6);
}

TEST(StepModel, CountsTheMapsOfMethodsAndEveryMethodHasAPrediction) {
  const StepPrediction plain = predict("h200", "llama-3.1-8b", "fp16", 4096, 1);
  const StepPrediction latents = predict("h200", "llama-3.1-8b", "xquant:bits=2", 4096, 1);
  EXPECT_DOUBLE_EQ(latents.weightBytes - plain.weightBytes, 32.0 * 4 * 2 * (4096 * 1024 + 1024 * 1024)); // U, S B: FP32
  for (const MethodInfo &method : methodRegistry()) {
    const std::string policy = !method.example.empty()     ? method.example
                               : method.name == "fp16"     ? "fp16"
                               : method.name == "low-rank" ? "low-rank:rank=96"
                                                           : method.name + ":bits=2";
    const StepPrediction step = predict("h100-sxm", "smollm2-135m", policy, 2048, 2);
    EXPECT_GT(step.seconds, 0) << policy;
    EXPECT_GT(step.memoryBytes, step.weightBytes) << policy;
    EXPECT_LE(step.hiddenSeconds, step.seconds * (1 + 1e-12)) << policy;
  }
}

// "XQuant with RoPE is slower than FP16 KV wherever both fit, on every GPU, context and batch", and never faster than KIVI.
TEST(StepModel, RebuildingNeverWinsTimeWhereBothFit) {
  int compared = 0;
  for (const Hardware &gpu : hardwarePresets())
    for (const char *shape : {"llama-2-7b", "llama-3.1-8b", "mistral-7b"})
      for (const char *policy : {"xquant:bits=4", "xquant:bits=2", "xquant-cl:bits=2,accumulator=fp16"}) {
        const ModelConfig config = shapeConfig(builtInShape(shape));
        const StepModel fp16(PolicySpec::parse("fp16"), config), kivi(PolicySpec::parse("kivi-star:bits=2"), config),
            xquant(PolicySpec::parse(policy), config);
        for (Index context = 1024; context <= 262144; context *= 4)
          for (Index batch = 1; batch <= 64; batch *= 8) {
            const StepPrediction a = fp16.predict(gpu, context, batch), x = xquant.predict(gpu, context, batch);
            EXPECT_GE(x.seconds, kivi.predict(gpu, context, batch).seconds) << gpu.id << shape << policy << context;
            if (!*a.fits(gpu) || !*x.fits(gpu)) continue;
            EXPECT_GT(x.seconds, a.seconds) << gpu.id << shape << policy << context << "x" << batch;
            ++compared;
          }
      }
  EXPECT_GT(compared, 100);
}

// Hidden perfectly under the loading of weights, one sequence of Llama-3.1-8B: ahead of FP16 up to 64k on an H100, 32k on an
// H200, 16k on an A100.
TEST(StepModel, HiddenRebuildingWinsUpToSomeContext) {
  const struct {
    const char *gpu;
    Index last;
  } kCases[] = {{"h100-sxm", 65536}, {"h200", 32768}, {"a100", 16384}};
  for (const auto &[gpu, last] : kCases) {
    const auto ahead = [&](Index context) {
      const StepPrediction fp16 = predict(gpu, "llama-3.1-8b", "fp16", context, 1);
      return predict(gpu, "llama-3.1-8b", kXquant, context, 1).hiddenSeconds < fp16.seconds;
    };
    EXPECT_TRUE(ahead(last)) << gpu;
    EXPECT_FALSE(ahead(2 * last)) << gpu;
  }
}

TEST(StepModel, KnowsWhatFits) {
  const Hardware &h100 = hardwarePreset("h100-sxm");
  EXPECT_TRUE(*predict("h100-sxm", "llama-2-7b", "fp16", 32768, 1).fits(h100));  // 13.5 and 17 GB
  EXPECT_FALSE(*predict("h100-sxm", "llama-2-7b", "fp16", 32768, 4).fits(h100)); // 82 GB
  EXPECT_TRUE(*predict("h100-sxm", "llama-2-7b", "xquant:bits=2", 32768, 4).fits(h100));
  const StepPrediction part = predict("h100-sxm", "llama-2-7b", "fp16", 32768, 4);
  EXPECT_NEAR(part.spillSeconds, (part.memoryBytes - h100.usableMemory()) / h100.reachedLinkRate(), 1e-4);
  EXPECT_EQ(part.stepSeconds(), part.seconds) << "0.6 GiB over the link hide under 76 GiB of memory";
  EXPECT_EQ(predict("h100-sxm", "llama-2-7b", "fp16", 262144, 4).stepSeconds(),
            predict("h100-sxm", "llama-2-7b", "fp16", 262144, 4).spillSeconds);
  Hardware unknown = h100;
  unknown.memory = 0;
  EXPECT_FALSE(predict("h100-sxm", "llama-2-7b", "fp16", 32768, 1).fits(unknown).has_value());
}

TEST(HardwareTable, NamesItsGpusAndTakesARunsPeaks) {
  EXPECT_NEAR(hardwarePreset("h100-sxm").ridge(), 295.3, 0.1);
  EXPECT_EQ(hardwarePreset("rtx-4090").name, "RTX 4090");
  try {
    hardwarePreset("h1000");
    FAIL();
  } catch (const Error &error) {
    EXPECT_NE(std::string(error.what()).find("h100-pcie, h100-sxm, h200, a100, l40s, rtx-4090"), std::string::npos)
        << error.what();
  }
  RunRow run;
  run.backend = "cpu", run.device = "a CPU";
  const auto peak = [](const char *name, double value) {
    PeakRow row;
    row.name = name, row.value = value;
    return row;
  };
  EXPECT_FALSE(measuredHardware(run, {peak("copy", 2e10)}).has_value());
  const auto cpu = measuredHardware(run, {peak("copy", 1e10), peak("matmul", 1e11), peak("copy", 2e10)});
  ASSERT_TRUE(cpu.has_value());
  EXPECT_EQ(cpu->memoryRate, 2e10); // the later one
  EXPECT_EQ(cpu->ridge(), 5);
  EXPECT_EQ(cpu->reachedMemoryRate(), 2e10);
  EXPECT_EQ(cpu->tileRows, 1);
  EXPECT_EQ(cpu->device, "a CPU");
  EXPECT_EQ(cpu->memory, 0);
  run.backend = "cuda", run.device = "NVIDIA H200, compute capability 9.0, 143771 MiB";
  const auto gpu = measuredHardware(run, {peak("copy", 4e12), peak("matmul", 6e14), peak("host-copy", 5e10)});
  ASSERT_TRUE(gpu.has_value());
  EXPECT_EQ(gpu->memory, 143771.0 * 1024 * 1024);
  EXPECT_EQ(gpu->reachedLinkRate(), 5e10);
  EXPECT_EQ(gpu->tileRows, 16);
}

} // namespace
} // namespace xqs
