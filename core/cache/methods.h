// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/recipe.h"

namespace xqs {

// One function a method, one line each in registry.cpp.
MethodInfo fp16Method();
MethodInfo kiviMethod();
MethodInfo kiviStarMethod();
MethodInfo xquantMethod();
MethodInfo xquantClMethod();
MethodInfo lowRankMethod();

// Parameters that several methods share, in registry order.
ParameterInfo bitsParameter();
ParameterInfo groupParameter(std::int64_t defaultValue);
ParameterInfo firstLayersParameter(std::int64_t defaultValue);
ParameterInfo firstBitsParameter();
ParameterInfo sourceParameter();
ParameterInfo residualParameter(std::int64_t defaultValue);

/// Bits of a layer: `first_bits` in the first `first_layers` layers, `bits` in the others.
int bitsOfLayer(const PolicySpec &spec, Index layer);
/// True where X is stored as latents: source=latent, or auto on a model with grouped KV heads.
bool storesLatents(const PolicySpec &spec, const ModelShape &shape);
/// X or its latents of one layer at `bits`: what XQuant stores, and XQuant-CL below its base.
LayerRecipe xquantRecipe(const PolicySpec &spec, const ModelShape &shape, int bits, Index outliers);

} // namespace xqs
