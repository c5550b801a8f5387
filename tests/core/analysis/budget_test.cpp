// SPDX-License-Identifier: Apache-2.0
#include "analysis/budget.h"
#include "support/refusal.h"

#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>
#include <random>

using namespace xqs;
using testing::HasSubstr;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
using Layers = std::vector<std::vector<BudgetOption>>;

struct Totals {
  std::int64_t bits = 0;
  double cost = 0;
};

/// Every plan, one by one.
void forEachPlan(const Layers &layers, const std::function<void(Totals)> &visit, std::size_t layer = 0, Totals sum = {},
                 int chain = 0) {
  if (layer == layers.size()) return visit(sum);
  for (const BudgetOption &option : layers[layer])
    if (option.chain == 0 || option.continues == (option.chain == chain))
      forEachPlan(layers, visit, layer + 1, {sum.bits + option.bits, sum.cost + option.cost}, option.chain);
}

void expectConsistent(const Layers &layers, const BudgetPlan &plan) {
  ASSERT_EQ(plan.choice.size(), layers.size());
  Totals sum;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    sum.bits += layers[i].at(plan.choice[i]).bits, sum.cost += layers[i].at(plan.choice[i]).cost;
  }
  EXPECT_EQ(plan.bits, sum.bits);
  EXPECT_EQ(plan.cost, sum.cost);
}

/// Costs of four kinds: whole numbers (many ties), falling with the bits, noise of both signs, proportional to the bits.
Layers randomLayers(std::mt19937 &random, int kind) {
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  Layers layers(static_cast<std::size_t>(1 + below(5)));
  for (auto &layer : layers)
    for (int option = 1 + below(5); option-- > 0;) {
      const std::int64_t bits = kind == 0 ? below(6) : below(10000);
      const double noise = below(1000) / 1000.0, fraction = static_cast<double>(bits) / 10000;
      const double costs[] = {static_cast<double>(below(6)), std::exp2(-8 * fraction) * (0.5 + noise), noise - 0.3,
                              1 - fraction};
      layer.push_back({"o", bits, costs[kind]});
    }
  return layers;
}

} // namespace

TEST(Budget, ThePlanIsTheBestOfAllPlans) {
  std::mt19937 random(4);
  for (int round = 0; round < 2000; ++round) {
    const Layers layers = randomLayers(random, round % 4);
    Totals some; // a budget that a random plan uses up exactly, or misses by little
    for (const auto &layer : layers) {
      const BudgetOption &option = layer[random() % layer.size()];
      some.bits += option.bits, some.cost += option.cost;
    }
    const std::int64_t budget = some.bits + static_cast<std::int64_t>(random() % 3);
    Totals cheapest{0, kInfinity}, smallest{std::numeric_limits<std::int64_t>::max(), 0};
    forEachPlan(layers, [&](Totals t) {
      if (t.bits <= budget && (t.cost < cheapest.cost || (t.cost == cheapest.cost && t.bits < cheapest.bits))) cheapest = t;
      if (t.cost <= some.cost && (t.bits < smallest.bits || (t.bits == smallest.bits && t.cost < smallest.cost)))
        smallest = t;
    });
    const BudgetPlan byBits = leastCost(layers, budget), byCost = leastBits(layers, some.cost);
    expectConsistent(layers, byBits), expectConsistent(layers, byCost);
    EXPECT_EQ(byBits.cost, cheapest.cost) << round;
    EXPECT_EQ(byBits.bits, cheapest.bits) << round;
    EXPECT_EQ(byCost.bits, smallest.bits) << round;
    EXPECT_EQ(byCost.cost, smallest.cost) << round;
  }
}

TEST(Budget, ChainsAreBegunBeforeTheyGoOn) {
  std::mt19937 random(11);
  int chained = 0;
  for (int round = 0; round < 2000; ++round) {
    Layers layers = randomLayers(random, round % 4);
    for (auto &layer : layers) {
      for (BudgetOption &option : layer) option.chain = static_cast<int>(random() % 3), option.continues = random() % 3 > 0;
      layer.push_back({"alone", 9000, 1.0}); // there is always a plan
    }
    Totals cheapest{0, kInfinity}, smallest{std::numeric_limits<std::int64_t>::max(), 0};
    const std::int64_t budget = 9000 * static_cast<std::int64_t>(layers.size()) - static_cast<std::int64_t>(random() % 9000);
    std::int64_t least = std::numeric_limits<std::int64_t>::max();
    forEachPlan(layers, [&](Totals t) {
      least = std::min(least, t.bits);
      if (t.bits <= budget && (t.cost < cheapest.cost || (t.cost == cheapest.cost && t.bits < cheapest.bits))) cheapest = t;
    });
    if (least > budget) {
      EXPECT_THAT(test::usageMessageOf([&] { leastCost(layers, budget); }), HasSubstr(std::to_string(least)));
      continue;
    }
    const BudgetPlan plan = leastCost(layers, budget);
    expectConsistent(layers, plan);
    EXPECT_EQ(plan.cost, cheapest.cost) << round;
    EXPECT_EQ(plan.bits, cheapest.bits) << round;
    int before = 0;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const BudgetOption &option = layers[i][plan.choice[i]];
      EXPECT_TRUE(option.chain == 0 || option.continues == (option.chain == before)) << round << " layer " << i;
      before = option.chain, chained += option.chain != 0 && option.continues;
    }
    forEachPlan(layers, [&](Totals t) {
      if (t.cost <= plan.cost && (t.bits < smallest.bits || (t.bits == smallest.bits && t.cost < smallest.cost)))
        smallest = t;
    });
    EXPECT_EQ(leastBits(layers, plan.cost).bits, smallest.bits) << round;
  }
  EXPECT_GT(chained, 200);
  EXPECT_THAT(test::usageMessageOf([] {
                leastCost(Layers{{{"delta", 1, 0, 1, true}}}, 10);
              }),
              HasSubstr("continue a chain which none before it begins"));
}

TEST(Budget, ALargeModelEqualsATableOverEveryBudget) {
  // 128 layers, 64 options each; sizes in units of 16 bits so that a table of all sums is possible.
  std::mt19937 random(7);
  Layers layers(128);
  std::int64_t units = 0;
  for (auto &layer : layers) {
    const double sensitivity = std::exp2(static_cast<double>(random() % 1000) / 100);
    for (int option = 0; option < 64; ++option) {
      const std::int64_t size = 1 + static_cast<std::int64_t>(random() % 100);
      const double noise = 1e-4 * (static_cast<double>(random() % 2001) / 1000 - 1);
      layer.push_back({"o", 16 * size, 1e-3 * sensitivity * std::exp2(-static_cast<double>(size) / 10) + noise});
    }
    units += 100;
  }
  std::vector<double> table(static_cast<std::size_t>(units) + 1, 0.0), next; // least cost within as many units
  for (const auto &layer : layers) {
    next.assign(table.size(), kInfinity);
    for (const BudgetOption &option : layer)
      for (std::size_t size = static_cast<std::size_t>(option.bits / 16), b = size; b < table.size(); ++b)
        next[b] = std::min(next[b], table[b - size] + option.cost);
    table.swap(next);
  }
  for (const std::int64_t budget : {700, 2000, 3333, 5000, 9000}) {
    const BudgetPlan plan = leastCost(layers, 16 * budget + 15);
    expectConsistent(layers, plan);
    EXPECT_LE(plan.bits, 16 * budget + 15);
    EXPECT_EQ(plan.cost, table[static_cast<std::size_t>(budget)]) << budget;
    EXPECT_EQ(leastBits(layers, plan.cost).bits, plan.bits) << budget;
  }
}

TEST(Budget, AnOptionThatIsLargerAndWorseIsNeverChosen) {
  const Layers layers = {{{"good", 10, 0.1}, {"large and worse", 20, 0.2}, {"best", 30, 0.05}}};
  EXPECT_EQ(leastCost(layers, 29).choice, (std::vector<std::size_t>{0}));
  EXPECT_EQ(leastCost(layers, 30).choice, (std::vector<std::size_t>{2}));
}

TEST(Budget, NoiseBelowZeroIsCountedAsItIs) {
  const Layers layers = {{{"a", 4, -0.001}, {"b", 2, 0.01}}, {{"a", 4, 0.002}, {"b", 2, 0.02}}};
  const BudgetPlan plan = leastBits(layers, 0.001);
  EXPECT_EQ(plan.bits, 8);
  EXPECT_DOUBLE_EQ(plan.cost, 0.001);
  EXPECT_EQ(leastBits(layers, 0.019).bits, 6);
  EXPECT_EQ(leastBits(layers, kInfinity).bits, 4);
}

TEST(Budget, WhatCannotBeSaysWhatCan) {
  const Layers layers = {{{"a", 40, 0.5}, {"b", 100, 0.25}}, {{"a", 30, 0.5}}};
  EXPECT_THAT(test::usageMessageOf([&] { leastCost(layers, 69); }), HasSubstr("the smallest possible takes 70"));
  EXPECT_EQ(leastCost(layers, 70).bits, 70);
  EXPECT_THAT(test::usageMessageOf([&] { leastBits(layers, 0.7); }), HasSubstr("the lowest possible sum is 0.75"));
  EXPECT_EQ(leastBits(layers, 0.75).bits, 130);
  EXPECT_THAT(test::usageMessageOf([&] { leastBits(layers, std::nan("")); }), HasSubstr("nan"));
  EXPECT_THAT(test::usageMessageOf([] { leastCost(Layers{{{"a", 1, 0}}, {}}, 10); }), HasSubstr("layer 1 has no option"));
  EXPECT_THAT(test::usageMessageOf([] {
                leastCost(Layers{{{"kivi:bits=2", 1, std::nan("")}}}, 10);
              }),
              HasSubstr("layer 0, kivi:bits=2"));
  EXPECT_THAT(test::usageMessageOf([] { leastCost(Layers{{{"a", -1, 0}}}, 10); }), HasSubstr("-1 bits"));
  EXPECT_THAT(test::usageMessageOf([] {
                leastCost(Layers{{{"a", std::numeric_limits<std::int64_t>::max(), 0}}}, 10);
              }),
              HasSubstr("2^53"));
  EXPECT_EQ(leastCost({}, 0).choice.size(), 0u);
}
