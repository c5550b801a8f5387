// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hooks.h"

#include <cstddef>
#include <memory>
#include <span>

namespace xqs::cuda::cupti {

/// One of CUPTI's metrics and what it is called here: figure = unit * value.
struct Metric {
  const char *name;
  double CounterFigures::*figure;
  double unit = 1;
};

/// Metrics that are collected together, scheduled for one chip.
struct MetricSet {
  std::vector<Metric> metrics;
  std::vector<std::uint8_t> config; ///< CUPTI's image of them
  std::size_t passes = 0;           ///< over the work
  std::string names() const;        ///< separated by spaces
  std::vector<const char *> pointers() const;
};

/// CUPTI's host part for one chip: it schedules metrics and evaluates what was collected. Needs no GPU.
class Host {
public:
  Host(const Library &cupti, CUpti_ProfilerType type, const Chip &chip);
  /// Nothing where the chip lacks one of the metrics. Once a Host: metrics add up.
  std::optional<MetricSet> schedule(std::vector<Metric> metrics);
  /// Of range or sample `index` of an image of counter data; what is not in the set stays kNotMeasured.
  CounterFigures evaluate(const MetricSet &set, std::span<const std::uint8_t> image, std::size_t index) const;

private:
  struct Deinitialize {
    const Library *cupti;
    void operator()(CUpti_Profiler_Host_Object *object) const noexcept;
  };
  const Library &m_cupti;
  std::unique_ptr<CUpti_Profiler_Host_Object, Deinitialize> m_object;
};

// The best that a chip can do, found by asking CUPTI, never from a list of chips. Throws Failure where that is nothing.
/// Bytes to and from memory, and what else fits the same pass: time, L2, cycles, tensor pipe.
MetricSet trafficSet(const Library &cupti, const Chip &chip);
MetricSet hitRateSet(const Library &cupti, const Chip &chip);
/// Bytes to and from memory, for PM sampling: one pass.
MetricSet samplingSet(const Library &cupti, const Chip &chip);

/// Chips whose sampling is triggered by cycles of the system clock, not by time: Turing and GA100 (cupti_pmsampling.h).
bool sampledByCycles(std::string_view chip);

} // namespace xqs::cuda::cupti
