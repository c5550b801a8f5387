// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "instruments.h"

#include <string_view>
#include <unordered_map>
#include <vector>

namespace xqs::cuda::cupti {

/// Which operation a node of a graph belongs to.
///
/// All launches of one graph launch have its correlation id: they differ by their node alone, and that is a node of the
/// executable graph, which lives on when later steps are taken over by it (cudaGraphExecUpdate) with other operations. So a
/// node stands for a place: it was the n-th that its capture created, and its clone, which instantiation makes under an id
/// of its own, keeps the place. Each step has its own list of calls by place; the external id of a launch says which step's.
///
/// An update pairs nodes in the order in which they were captured, stream by stream. That is the order of places if both
/// steps have the same operation on the same queue at every place; where they have not, `gathered` says so, and the step
/// gets an executable of its own. Nodes made by nobody's capture have no place: better no operation than a wrong one.
class GraphNodes {
public:
  void gather(); ///< a step's capture begins
  /// While a step is captured: its next place is `operation`'s (null: outside of operations). Else nobody's.
  void created(std::uint64_t node, const KernelRecord *operation);
  void cloned(std::uint64_t node, std::uint64_t original);
  /// The capture is over. True where the executable of the last step fits this one.
  bool gathered();
  void drop(); ///< the last step will not run

  std::uint64_t step() const { return m_step; } ///< number of the last step
  /// The call that a node stands for in a step; 0: nobody knows.
  std::uint64_t callOf(std::uint64_t step, std::uint64_t node) const;

private:
  struct Place {
    std::string_view kernel;
    Queue queue = Queue::Compute;
    friend bool operator==(const Place &, const Place &) = default;
  };
  bool m_gathering = false;
  std::uint64_t m_step = 0;
  std::unordered_map<std::uint64_t, std::size_t> m_placeOf;              ///< of a node
  std::unordered_map<std::uint64_t, std::vector<std::uint64_t>> m_calls; ///< of a step, by place
  std::vector<Place> m_places, m_executable; ///< of the last step; of the last that was asked about
};

} // namespace xqs::cuda::cupti
