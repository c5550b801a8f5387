// SPDX-License-Identifier: Apache-2.0
#include "graph_nodes.h"

namespace xqs::cuda::cupti {

void GraphNodes::gather() {
  m_calls[++m_step].clear();
  m_places.clear();
  m_gathering = true;
}

void GraphNodes::created(std::uint64_t node, const KernelRecord *operation) {
  if (!m_gathering) return; // instantiation reports the executable's nodes as created, too, before it says whose clones
  m_placeOf[node] = m_places.size();
  m_places.push_back(operation != nullptr ? Place{operation->kernel, operation->queue} : Place{});
  m_calls[m_step].push_back(operation != nullptr ? operation->call : 0);
}

void GraphNodes::cloned(std::uint64_t node, std::uint64_t original) {
  if (const auto at = m_placeOf.find(original); at != m_placeOf.end()) {
    const std::size_t place = at->second;
    m_placeOf[node] = place;
  }
}

bool GraphNodes::gathered() {
  m_gathering = false;
  const bool fits = m_places == m_executable;
  m_executable = m_places;
  return fits;
}

void GraphNodes::drop() {
  m_gathering = false;
  m_calls.erase(m_step);
}

std::uint64_t GraphNodes::callOf(std::uint64_t step, std::uint64_t node) const {
  const auto place = m_placeOf.find(node);
  const auto calls = m_calls.find(step);
  if (place == m_placeOf.end() || calls == m_calls.end() || place->second >= calls->second.size()) return 0;
  return calls->second[place->second];
}

} // namespace xqs::cuda::cupti
