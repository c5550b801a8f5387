// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

/// Which method and width each layer gets, on the separable model: the cost of a plan is the sum of what each layer costs
/// alone. Exact (the multiple-choice knapsack problem): no rounding of sizes or costs.
namespace xqs {

/// One way to cache one layer.
struct BudgetOption {
  std::string name;      ///< policy, for messages
  std::int64_t bits = 0; ///< cache bits a token, >= 0
  double cost = 0;       ///< KL in nats with this layer alone quantized; noise may make it slightly negative
  /// Options that stand on the layer before: a chain (xquant-cl) of neighbouring layers begins with one of its options that
  /// does not continue it, and never behind a layer of its own; one that continues it stands only behind such a layer.
  int chain = 0; ///< 0: none
  bool continues = false;
};

/// Options of each layer; any number, differing by layer, in any order.
using BudgetLayers = std::span<const std::vector<BudgetOption>>;

/// One option a layer.
struct BudgetPlan {
  std::vector<std::size_t> choice; ///< index into the layer's options
  std::int64_t bits = 0;           ///< a token, all layers
  double cost = 0;                 ///< predicted: the sum in the order of layers, nats
};

/// The plan of least cost with bits <= `budgetBits`; of several the one with the fewest bits.
/// Throws Usage where no plan fits (the message has the smallest possible budget), a layer has no option that fits behind
/// another, or an option's cost is not finite or its bits are negative.
BudgetPlan leastCost(BudgetLayers layers, std::int64_t budgetBits);

/// The plan of fewest bits with cost <= `limitNats`; of several the one of least cost. Throws as above, with the lowest
/// possible cost.
BudgetPlan leastBits(BudgetLayers layers, double limitNats);

} // namespace xqs
