// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/layer_plan.h"

namespace xqs {

// One function a method, one line each in registry.cpp.
MethodInfo fp16Method();
MethodInfo kiviMethod();
MethodInfo kiviStarMethod();
MethodInfo xquantMethod();
MethodInfo xquantClMethod();
MethodInfo lowRankMethod();
MethodInfo planMethod();

// Parameters that several methods share, in registry order.
ParameterInfo bitsParameter();
ParameterInfo groupParameter(std::int64_t defaultValue);
ParameterInfo firstLayersParameter(std::int64_t defaultValue);
ParameterInfo firstBitsParameter();
ParameterInfo sourceParameter();
ParameterInfo residualParameter(std::int64_t defaultValue);
/// `parameters`, behind them those of conditioning, and `residual`.
std::vector<ParameterInfo> withConditioning(std::vector<ParameterInfo> parameters, std::int64_t residualDefault);

/// Bits of a layer: `first_bits` in the first `first_layers` layers, `bits` in the others.
int bitsOfLayer(const PolicySpec &spec, Index layer);
/// True where X is stored as latents: source=latent, or auto on a model with grouped KV heads.
bool storesLatents(const PolicySpec &spec, const ModelShape &shape);
/// X or its latents at `bits`: what XQuant stores, and XQuant-CL below its base.
LayerPlan xquantPlan(const PolicySpec &spec, const ModelShape &shape, int bits);
/// A layer of an XQuant-CL chain: its base, or a delta.
LayerPlan chainPlan(const PolicySpec &spec, const ModelShape &shape, bool base);

} // namespace xqs
