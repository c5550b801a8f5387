// SPDX-License-Identifier: Apache-2.0
#include "cache/methods.h"

namespace xqs {

std::span<const MethodInfo> methodRegistry() {
  static const std::vector<MethodInfo> kMethods = {
      fp16Method(), kiviMethod(), kiviStarMethod(), xquantMethod(), xquantClMethod(), lowRankMethod(), planMethod(),
  };
  return kMethods;
}

ParameterInfo bitsParameter() {
  ParameterInfo p;
  p.name = "bits";
  p.min = 2, p.max = 16;
  p.allowed = {2, 3, 4, 8, 16};
  p.meaning = "Bits a code; 16 stores FP16 without scales.";
  return p;
}

ParameterInfo groupParameter(std::int64_t defaultValue) {
  ParameterInfo p;
  p.name = "group";
  p.min = 8, p.max = 4096;
  p.defaultValue = std::to_string(defaultValue);
  p.meaning = "Elements that share a scale and a zero point (32 bits together); smaller groups are closer and cost more.";
  return p;
}

ParameterInfo firstLayersParameter(std::int64_t defaultValue) {
  ParameterInfo p;
  p.name = "first_layers";
  p.min = 0, p.max = 1024;
  p.defaultValue = std::to_string(defaultValue);
  p.meaning =
      "How many layers from the first on are stored at first_bits; in xquant-cl the last of them is the base of the deltas.";
  return p;
}

ParameterInfo firstBitsParameter() {
  ParameterInfo p = bitsParameter();
  p.name = "first_bits";
  p.defaultValue = "4";
  p.meaning = "Bits a code in the first layers (and of the base of xquant-cl).";
  return p;
}

ParameterInfo sourceParameter() {
  ParameterInfo p;
  p.name = "source";
  p.type = ParameterInfo::Type::Choice;
  p.choices = {"auto", "x", "latent"};
  p.defaultValue = "auto";
  p.meaning = "What stands for K and V: X itself, or its SVD latents; auto takes X on MHA models and latents on GQA models.";
  return p;
}

ParameterInfo residualParameter(std::int64_t defaultValue) {
  ParameterInfo p;
  p.name = "residual";
  p.min = 0, p.max = 65536;
  p.defaultValue = std::to_string(defaultValue);
  p.meaning = "Newest tokens that per-token tensors keep in FP16 while decoding; ignored in state all.";
  return p;
}

std::vector<ParameterInfo> withConditioning(std::vector<ParameterInfo> parameters, std::int64_t residualDefault) {
  for (ParameterInfo &p : conditioningParameters()) parameters.push_back(std::move(p));
  parameters.push_back(residualParameter(residualDefault));
  return parameters;
}

int bitsOfLayer(const PolicySpec &spec, Index layer) {
  return static_cast<int>(spec.integer(layer < spec.integer("first_layers") ? "first_bits" : "bits"));
}

} // namespace xqs
