// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "calibrate/calibration.h"
#include "cpu_backends.h"
#include "engine/evaluate.h"
#include "model/model.h"

#include <memory>
#include <string>
#include <vector>

namespace xqs::test {

inline const char *const kGqaModel = "synthetic:layers=5,d=64,heads=4,kv_heads=2,head_dim=16,ffn=96,vocab=256,seed=7";
inline const char *const kMhaModel = "synthetic:layers=5,d=64,heads=4,kv_heads=4,head_dim=16,ffn=96,vocab=256,seed=7";

using BackendOwner = std::unique_ptr<Backend, void (*)(Backend *)>;
inline BackendOwner makeBackend(const XqsBackendModule *module, int threads) {
  return {module->create(threads), module->destroy};
}

/// Seeded token ids.
inline std::vector<TokenId> randomTokens(Index count, Index vocab, std::uint64_t seed = 1) {
  std::vector<TokenId> tokens;
  for (Index i = 0; i < count; ++i) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    tokens.push_back(static_cast<TokenId>((seed >> 33) % static_cast<std::uint64_t>(vocab)));
  }
  return tokens;
}

/// A model on a backend of its own, with decompositions in memory only.
struct SmallModel {
  explicit SmallModel(const std::string &location, const XqsBackendModule *module = referenceBackendModule(),
                      int threads = 2)
      : SmallModel(*openModel(location), module, threads) {}
  SmallModel(const ModelReader &reader, const XqsBackendModule *module, int threads = 2)
      : backend(makeBackend(module, threads)), model(Model::load(reader, *backend)),
        calibration(*model, std::filesystem::path()) {
    calibration.setMeasure("random tokens", [this](std::stop_token) {
      return measureActivations(*model, randomTokens(256, model->config().vocab, 99), 128);
    });
  }
  BackendOwner backend;
  std::unique_ptr<Model> model;
  Calibration calibration;
};

/// Host copy of a view of a host-visible backend.
inline std::vector<float> values(ConstView view) {
  std::vector<float> all;
  for (Index r = 0; r < view.rows; ++r) all.insert(all.end(), view.row(r), view.row(r) + view.cols);
  return all;
}

/// Policies that reach every branch of every method; group 32 so that groups close often.
inline std::vector<std::string> contractPolicies(bool mha) {
  std::vector<std::string> all = {
      "fp16",
      "kivi:bits=2",
      "kivi:bits=4,residual=0",
      "kivi:bits=3,group=16,residual=48,first_layers=2",
      "kivi-star:bits=2,group=32",
      "kivi-star:bits=3,group=48,first_layers=0,residual=5",
      "kivi-star:bits=8,group=32,first_bits=2",
      "kivi-star:bits=16",
      "xquant:bits=4,group=32,source=x",
      "xquant:bits=3,group=48,source=x,residual=7",
      "xquant:bits=2,group=32,source=latent",
      "xquant:bits=3,group=32,source=latent,residual=40",
      "xquant-cl:bits=2,group=32,source=x",
      "xquant-cl:bits=4,group=32,source=x,domain=residual,residual=9",
      "xquant-cl:bits=3,group=32,source=x,delta_axis=channel",
      "xquant-cl:bits=4,group=32,source=x,accumulator=fp16,residual=3,first_layers=0",
      "xquant-cl:bits=4,group=32,source=x,accumulator=first_bits",
      "xquant-cl:bits=16,group=32,source=x,first_layers=1,residual=6",
      "xquant-cl:bits=4,group=32,source=x,first_bits=16,residual=6",
      "xquant-cl:bits=3,group=32,source=x,delta_axis=channel,accumulator=first_bits,first_layers=2",
      "xquant-cl:bits=4,group=32,source=x,first_layers=9",
      "xquant-cl:bits=4,group=32,source=x,first_layers=9,delta_axis=channel",
      "xquant-cl:bits=3,group=32,source=latent,base=latent",
      "xquant-cl:bits=3,group=32,source=latent,delta_axis=channel,domain=residual",
      "xquant-cl:bits=2,group=32,source=latent,residual=11,base=latent,domain=residual",
      "low-rank:rank=16",
      "kivi-star:bits=2,group=32,outlier_channels=3,rotate=hadamard,center=on,sink_tokens=2,residual=4",
      "kivi:bits=2,group=16,residual=32,outlier_channels=2,outlier_source=weights,sink_tokens=5",
      "xquant:bits=2,group=32,source=x,outlier_channels=4,sink_tokens=1",
      "xquant:bits=3,group=32,source=x,outlier_channels=3,rotate=hadamard,center=on,sink_tokens=1,residual=6",
      "xquant:bits=3,group=32,source=x,rotate=random,outlier_source=weights,outlier_channels=2",
      "xquant:bits=2,group=32,source=latent,outlier_channels=2,rotate=hadamard,center=on,sink_tokens=3",
      "xquant-cl:bits=2,group=32,source=x,outlier_channels=4,sink_tokens=1,residual=7",
      "xquant-cl:bits=2,group=32,source=x,domain=residual,outlier_channels=4,rotate=hadamard,sink_tokens=1",
      "xquant-cl:bits=3,group=32,source=x,delta_axis=channel,outlier_channels=2,rotate=random,center=on,sink_tokens=3",
      "xquant-cl:bits=3,group=32,source=latent,base=latent,outlier_channels=2,rotate=hadamard,center=on,residual=5",
      "plan:0=xquant:bits=4,group=32;1.k=kivi-star:bits=2,group=32;1.v=xquant:bits=3,group=32,source=latent;"
      "2-4=xquant-cl:bits=2,group=32,source=x,residual=4",
      "plan:1-2=xquant-cl:bits=2,group=32,source=x;3-4=xquant-cl:bits=3,group=32,source=x,delta_axis=channel",
  };
  if (!mha) {
    all.insert(all.end(),
               {"xquant:bits=2,group=32,outlier_channels=1", "xquant:bits=3,group=32,outlier_channels=5,residual=4",
                "xquant:bits=4", "xquant-cl:bits=4", "low-rank:rank=32"});
  }
  return all;
}

} // namespace xqs::test
