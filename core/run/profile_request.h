// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "run/decode_steps.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace xqs {

/// What is profiled: everything but the machine. The same JSON is the window's request and the `spec` column of the store.
struct ProfileRequest {
  std::string model = "default";    ///< a location of `openModel`; of the session that profiles
  std::string shape;                ///< a built-in shape (shapes.h) in its place; empty: the model
  Index layers = 0;                 ///< of the shape; 0: all
  std::vector<Index> contexts;      ///< tokens that each cache holds, ascending
  std::vector<Index> batches = {1}; ///< sequences that are decoded together, ascending
  std::vector<PolicySpec> policies; ///< FP16, what the others are compared with, comes first, asked for or not
  DecodeForm form = DecodeForm::Fused;
  Placement placement = Placement::Device; ///< of the caches
  Index steps = 0;                         ///< that are timed
  std::string backend = "auto";            ///< see chooseBackend
  int threads = 0;                         ///< 0: one a core
  std::uint64_t seed = 1;
  bool kernels = true;     ///< a row a launch of the traced step
  bool counters = true;    ///< bytes measured, where the device has counters
  bool hitRate = false;    ///< the true L2 hit rate too: the step runs twice more
  bool microscope = false; ///< figures of every launch: kernels are replayed one by one; needs `kernels` and `counters`
  bool costs = true;       ///< what each instrument costs a step
  std::int64_t samplingMicroseconds = 100; ///< between samples of the device's traffic; 0: none
};

/// Reads a request; missing keys take their defaults, and empty lists, or 0 steps, what suits model and backend
/// (`completeProfile`). Throws Usage: the key, what is wrong and what is valid.
ProfileRequest profileFromJson(const nlohmann::json &json);
nlohmann::json toJson(const ProfileRequest &request);
/// The keys in order: "model, shape, ...".
std::string profileKeys();

/// A request with everything said. Contexts: 2048, 8192, 32768 on a device, 512, 1024, 2048 on the CPU, those that the model
/// was trained for; steps: 32, or 6; policies: every method of the registry that has a width, at 4 and at 2 bits, and low
/// rank at five sixths of the KV width, where that is at most 1024. Sorts lists, removes what is there twice, puts FP16
/// first. Throws Usage where layers are counted of a model, or a microscope has nothing to look at.
ProfileRequest completeProfile(ProfileRequest request, const ModelConfig &config, bool onHost);
/// The smallest that still compares: one context of 512 tokens, 4 steps, FP16 beside three methods at 2 bits, no costs.
ProfileRequest quickProfile();

/// FP16 first, then the others, each once.
std::vector<PolicySpec> withBaseline(const std::vector<PolicySpec> &policies);

} // namespace xqs
