// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/policy.h"

namespace xqs {

constexpr const char *kPlanMethod = "plan";

/// One line of a plan: which policy some layers, or one side of them, follow.
struct PlanEntry {
  Index first = 0, last = -1; ///< layers, both included; last < 0: every layer that no other entry names ("*")
  std::optional<Side> side;   ///< none: K and V
  PolicySpec policy;          ///< of a layer by itself: its first_layers counts for nothing
  bool others() const { return last < 0; }
};

/// A plan gives every layer its own policy, K and V apart where the method stores them apart:
///
///   plan:0-2=xquant:bits=4;3-29.k=kivi-star:bits=2;3-29.v=kivi-star:bits=4;*=fp16
///
/// Layers that no entry names are fp16. Neighbouring xquant-cl layers with the same chain settings are one chain; its first
/// layer is the base, at first_bits. `plan:@FILE` reads a file: JSON, {"layers": {"0-2": "xquant:bits=4", "3": {"k": "...",
/// "v": "..."}}}, or a table with a line an entry, "0-2 xquant:bits=4" ('#' starts a comment). The canonical form is always
/// the inline one, entries in order of layers: it says everything wherever it is read. Throws Usage, NotFound, Unreadable.
PolicySpec parsePlan(std::string_view text);
/// Whether a layer under this policy adds to the layer below it.
bool isChain(const PolicySpec &policy);
PolicySpec makePlan(std::vector<PlanEntry> entries);
/// What K and V of one layer follow; equal: the layer's policy.
struct LayerPolicies {
  PolicySpec k, v;
};
/// The plan that gives layer i `layers[i]`, neighbours that are equal in one entry.
PolicySpec planOfLayers(std::span<const LayerPolicies> layers);
/// A policy as a plan writes it: without the first_layers that a layer by itself has not.
std::string planText(const PolicySpec &policy);
/// The plan as a JSON file.
std::string planFile(const PolicySpec &plan);

} // namespace xqs
