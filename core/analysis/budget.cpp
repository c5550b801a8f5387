// SPDX-License-Identifier: Apache-2.0
// The multiple-choice knapsack problem (Kellerer, Pferschy, Pisinger, Knapsack Problems, 2004, ch. 11): choose one item (x,
// y) a layer, sum of x <= limit, least sum of y. A dynamic program over the undominated sums, kept small by a Lagrange
// multiplier: with base_i = min(y + lambda x) over layer i and excess = y + lambda x - base_i >= 0, a plan's y is
//   lower bound + sum of excess + lambda (limit - sum of x),   lower bound = sum of base - lambda limit.
// So a plan within `gap` of the bound has no more excess than that, and an optimum is far closer to it than any greedy plan.
// Chains restrict which plans there are, so the bound holds as it is; sums are only compared where the same layers may
// follow.
#include "budget.h"

#include "error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>
#include <optional>
#include <utility>

namespace xqs {
namespace {

constexpr double kLargestExact = 9007199254740992.0; // 2^53: sums of bits stay exact as doubles

struct Item {
  double x = 0, y = 0; ///< limited, minimized
  std::size_t option = 0;
  int chain = 0;
  bool continues = false;
  double excess = 0;
  bool follows(int before) const { return chain == 0 || continues == (chain == before); }
};
using Items = std::vector<Item>;

/// How a state came about: index into the states of the layer before; into this layer's items.
struct Step {
  std::uint32_t parent = 0, item = 0;
};

/// The sums of a choice for the first layers.
struct State {
  double x = 0, y = 0, excess = 0;
  Step step;
};

/// States of which the last layer is in the same chain: ascending by x, none beaten.
struct Block {
  int chain = 0;
  std::vector<State> states;
};

template <class T> bool before(const T &a, const T &b) { return a.x != b.x ? a.x < b.x : a.y < b.y; }

/// Of a sorted list, only those that no earlier one beats or equals in both.
template <class T> void keepUndominated(std::vector<T> &sorted) {
  std::size_t kept = 0;
  for (const T &candidate : sorted)
    if (kept == 0 || candidate.y < sorted[kept - 1].y) sorted[kept++] = candidate;
  sorted.resize(kept);
}

/// Of the items after which the same may follow, only those that no other beats; ascending by x.
void keepUseful(Items &items) {
  std::map<std::pair<int, bool>, Items> kinds;
  for (const Item &item : items) kinds[{item.chain, item.continues}].push_back(item);
  items.clear();
  for (auto &[kind, same] : kinds) {
    std::ranges::stable_sort(same, before<Item>);
    keepUndominated(same);
    items.insert(items.end(), same.begin(), same.end());
  }
  std::ranges::stable_sort(items, before<Item>);
}

class Knapsack {
public:
  /// Layers of useful items.
  Knapsack(std::vector<Items> layers, double limit) : m_layers(std::move(layers)) {
    double largest = 0;
    for (const Items &items : m_layers) largest += items.back().x;
    m_limit = std::min(limit, largest); // more is not used, and may be infinite
  }

  /// Infinite where no option of a layer fits behind another.
  double smallestX() const {
    std::map<int, double> least = {{0, 0.0}}; // by the chain of the last layer
    for (const Items &items : m_layers) {
      std::map<int, double> next;
      for (const auto &[before, x] : least)
        for (const Item &item : items)
          if (item.follows(before)) {
            const auto [place, isNew] = next.emplace(item.chain, x + item.x);
            if (!isNew) place->second = std::min(place->second, x + item.x);
          }
      least = std::move(next);
    }
    double smallest = std::numeric_limits<double>::infinity();
    for (const auto &[chain, x] : least) smallest = std::min(smallest, x);
    return smallest;
  }

  /// The options of the best plan. `smallestX` must not exceed the limit.
  std::vector<std::size_t> solve() {
    setMultiplier(findMultiplier());
    const double greedyGap = std::max(m_multiplier * (m_limit - xAt(m_multiplier)), 0.0);
    double scale = 0;
    for (const Items &items : m_layers)
      for (const Item &end : {items.front(), items.back()}) scale += std::abs(end.y) + m_multiplier * std::abs(end.x);
    m_tolerance = 1e-13 * scale;
    for (double share = 1.0 / 4096; share < 1; share *= 4)
      if (auto choice = within(share * greedyGap)) return *choice;
    if (auto choice = within(greedyGap)) return *choice;                            // keeps the greedy plan itself
    for (double gap = std::max(2 * greedyGap, 1e-6 * scale); gap < scale; gap *= 4) // which chains may forbid
      if (auto choice = within(gap)) return *choice;
    return *within(std::numeric_limits<double>::infinity());
  }

private:
  static const Item &bestAt(const Items &items, double multiplier) {
    return *std::ranges::min_element(items, {}, [=](const Item &item) { return item.y + multiplier * item.x; });
  }

  double xAt(double multiplier) const {
    double sum = 0;
    for (const Items &items : m_layers) sum += bestAt(items, multiplier).x;
    return sum;
  }

  /// The smallest multiplier at which the best items fit, to the last bit.
  double findMultiplier() const {
    if (xAt(0) <= m_limit) return 0;
    double low = 0, high = 1;
    while (xAt(high) > m_limit && high < 1e120) low = high, high *= 2;
    for (double middle = (low + high) / 2; middle > low && middle < high; middle = (low + high) / 2)
      (xAt(middle) > m_limit ? low : high) = middle;
    return high;
  }

  void setMultiplier(double multiplier) {
    m_multiplier = multiplier;
    for (Items &items : m_layers) {
      const Item &best = bestAt(items, multiplier);
      const double base = best.y + multiplier * best.x;
      for (Item &item : items) item.excess = item.y + multiplier * item.x - base;
    }
  }

  /// The best plan, if one lies within `gap` (and the tolerance) of the lower bound; otherwise nothing.
  std::optional<std::vector<std::size_t>> within(double gap) const {
    const double allowed = gap + m_tolerance;
    std::vector<double> leastAfter(m_layers.size() + 1), mostAfter(m_layers.size() + 1); // x that later layers can add
    for (std::size_t i = m_layers.size(); i-- > 0;) {
      const auto fits = [=](const Item &item) { return item.excess <= allowed; };
      leastAfter[i] = leastAfter[i + 1] + std::ranges::find_if(m_layers[i], fits)->x;
      mostAfter[i] = mostAfter[i + 1] + std::find_if(m_layers[i].rbegin(), m_layers[i].rend(), fits)->x;
    }
    std::vector<Block> blocks = {{0, {State{}}}};
    std::vector<std::vector<Step>> steps(m_layers.size());
    std::vector<State> added, merged;
    for (std::size_t i = 0; i < m_layers.size(); ++i) {
      std::vector<Block> next;
      for (std::uint32_t item = 0; item < m_layers[i].size(); ++item) {
        const Item &add = m_layers[i][item];
        std::uint32_t parent = 0; // counts on from block to block
        for (const Block &from : blocks) {
          added.clear();
          for (const State &state : from.states) {
            const State s{state.x + add.x, state.y + add.y, state.excess + add.excess, {parent++, item}};
            const double unused = m_multiplier * (m_limit - s.x - mostAfter[i + 1]);
            const double over = m_multiplier * (s.x + leastAfter[i + 1] - m_limit);
            if (add.follows(from.chain) && s.excess + std::max(unused, 0.0) <= allowed && over <= m_tolerance)
              added.push_back(s);
          }
          if (added.empty()) continue;
          auto into = std::ranges::find(next, add.chain, &Block::chain);
          if (into == next.end()) into = next.insert(next.end(), Block{add.chain, {}});
          merged.clear();
          std::ranges::merge(into->states, added, std::back_inserter(merged), before<State>);
          keepUndominated(merged);
          into->states.swap(merged);
        }
      }
      for (const Block &block : next)
        for (const State &state : block.states) steps[i].push_back(state.step);
      blocks.swap(next);
    }
    const State *best = nullptr;
    for (const Block &block : blocks) {
      const auto end = std::ranges::find_if(block.states, [this](const State &s) { return s.x > m_limit; });
      if (end == block.states.begin()) continue;
      const State &last = *(end - 1); // y falls as x grows
      if (best == nullptr || last.y < best->y || (last.y == best->y && last.x < best->x)) best = &last;
    }
    if (best == nullptr) return {};
    return choiceOf(steps, best->step);
  }

  std::vector<std::size_t> choiceOf(const std::vector<std::vector<Step>> &steps, Step last) const {
    std::vector<std::size_t> choice(m_layers.size());
    for (std::size_t i = m_layers.size(); i-- > 0;) {
      choice[i] = m_layers[i][last.item].option;
      if (i > 0) last = steps[i - 1][last.parent];
    }
    return choice;
  }

  std::vector<Items> m_layers;
  double m_limit = 0;
  double m_multiplier = 0;
  double m_tolerance = 0; ///< of comparisons with the bound: rounding of its sums
};

void check(BudgetLayers layers) {
  double largest = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (layers[i].empty())
      throw Error(Code::Usage, fmt::format("layer {} has no option to choose: measure at least one", i));
    double mostBits = 0;
    for (const BudgetOption &option : layers[i]) {
      if (!std::isfinite(option.cost))
        throw Error(Code::Usage,
                    fmt::format("layer {}, {}: its cost is {}, which no sum can hold; measure it again or leave "
                                "it out",
                                i, option.name, option.cost));
      if (option.bits < 0)
        throw Error(Code::Usage, fmt::format("layer {}, {}: {} bits a token; give its size", i, option.name, option.bits));
      mostBits = std::max(mostBits, static_cast<double>(option.bits));
    }
    largest += mostBits;
  }
  if (largest > kLargestExact)
    throw Error(Code::Usage,
                fmt::format("layers of {:g} bits a token together are beyond 2^53; check their sizes", largest));
}

/// `limitBits`: bits are limited and cost is minimized; otherwise the reverse.
Knapsack knapsack(BudgetLayers layers, double limit, bool limitBits) {
  std::vector<Items> items(layers.size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    for (std::size_t j = 0; j < layers[i].size(); ++j) {
      const double bits = static_cast<double>(layers[i][j].bits), cost = layers[i][j].cost;
      items[i].push_back({limitBits ? bits : cost, limitBits ? cost : bits, j, layers[i][j].chain, layers[i][j].continues});
    }
    keepUseful(items[i]);
  }
  return {std::move(items), limit};
}

[[noreturn]] void throwNoPlan() {
  throw Error(Code::Usage,
              "no plan: a layer has only options that continue a chain which none before it begins; measure one "
              "that stands alone");
}

BudgetPlan planOf(BudgetLayers layers, std::vector<std::size_t> choice) {
  BudgetPlan plan;
  for (std::size_t i = 0; i < layers.size(); ++i)
    plan.bits += layers[i][choice[i]].bits, plan.cost += layers[i][choice[i]].cost;
  plan.choice = std::move(choice);
  return plan;
}

} // namespace

BudgetPlan leastCost(BudgetLayers layers, std::int64_t budgetBits) {
  check(layers);
  Knapsack problem = knapsack(layers, std::min(static_cast<double>(budgetBits), kLargestExact), true);
  const double smallest = problem.smallestX();
  if (std::isinf(smallest)) throwNoPlan();
  if (smallest > static_cast<double>(budgetBits))
    throw Error(Code::Usage,
                fmt::format("no plan fits into {} bits a token: the smallest possible takes {}; raise the budget "
                            "or add smaller options",
                            budgetBits, static_cast<std::int64_t>(smallest)));
  return planOf(layers, problem.solve());
}

BudgetPlan leastBits(BudgetLayers layers, double limitNats) {
  check(layers);
  Knapsack problem = knapsack(layers, limitNats, false);
  const double smallest = problem.smallestX();
  if (std::isinf(smallest)) throwNoPlan();
  if (!(smallest <= limitNats))
    throw Error(Code::Usage,
                fmt::format("no plan costs at most {} nats: the lowest possible sum is {}; raise the limit or add "
                            "more exact options",
                            limitNats, smallest));
  return planOf(layers, problem.solve());
}

} // namespace xqs
