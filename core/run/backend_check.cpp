// SPDX-License-Identifier: Apache-2.0
#include "run/backend_check.h"

#include "cache/cache.h"
#include "engine/engine.h"
#include "model/matrices.h"

#include <fmt/format.h>

#include <cmath>

namespace xqs {
namespace {

/// Heads and groups of 128, which the fastest kernels are for.
constexpr const char *kModel =
    "synthetic:layers=1,d=128,heads=2,kv_heads=1,head_dim=128,ffn=128,vocab=64,context=256,seed=11";
constexpr const char *kPolicies[] = {"fp16", "kivi-star:bits=8", "xquant:bits=8,source=x"};
constexpr Index kPrompt = 140, kDecoded = 2, kVocab = 64;
constexpr double kMost = 0.05; ///< relative distance of the logits

/// Of the last decoded token.
std::vector<float> lastLogits(const Model &model, const Method &method) {
  std::vector<TokenId> tokens(kPrompt + kDecoded);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>(i * 7 % kVocab);
  const auto cache = method.makeCache({kPrompt + kDecoded, kPrompt, State::Stream});
  Engine engine(model);
  Lane lane;
  lane.cache = cache.get();
  engine.step({&lane, 1}, std::span(tokens).first(kPrompt));
  for (std::size_t i = kPrompt; i < tokens.size(); ++i) engine.step({&lane, 1}, {&tokens[i], 1});
  const Buffer logits = model.backend().allocate(kVocab * sizeOf(DType::F32), Purpose::Scratch);
  engine.logits(engine.hidden(0), logits.f32(1, kVocab));
  return downloadMatrix(model.backend(), logits.f32(1, kVocab));
}

/// Every policy's logits.
std::vector<std::vector<float>> logitsOn(Backend &backend) {
  const auto model = Model::load(*openModel(kModel), backend);
  Calibration calibration(*model, {});
  std::vector<std::vector<float>> all;
  for (const char *policy : kPolicies)
    all.push_back(lastLogits(*model, *prepareMethod(PolicySpec::parse(policy), *model, calibration)));
  return all;
}

double relativeDistance(const std::vector<float> &a, const std::vector<float> &b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / size);
}

} // namespace

bool requireAgreement(Backend &device, Backend &trusted) {
  std::vector<std::vector<float>> got;
  try {
    got = logitsOn(device);
  } catch (const Error &error) {
    if (error.code() != Code::OutOfMemory) throw;
    return false; // what comes next says what it needs
  }
  const auto expected = logitsOn(trusted);
  for (std::size_t i = 0; i < got.size(); ++i)
    if (const double distance = relativeDistance(got[i], expected[i]); !(distance <= kMost))
      throw Error(Code::BackendUnusable,
                  fmt::format("backend '{}' ({}) gives other results than '{}' on a small model (policy {}: {:.2g} apart, "
                              "{} allowed): its figures would be wrong; compute on the CPU (backend cpu), and report it",
                              device.name(), device.device(), trusted.name(), kPolicies[i], distance, kMost));
  return true;
}

} // namespace xqs
