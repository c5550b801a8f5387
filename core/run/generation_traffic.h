// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "analysis/traffic.h"
#include "run/traffic_sampler.h"
#include "store/run_store.h"

#include <optional>
#include <string>
#include <vector>

namespace xqs {

/// The device's traffic while a generation draws tokens, where its request asks for it: rows for the generation's
/// transactions. An instrument that cannot be used, or breaks down meanwhile, is a row that says so and no error: the text
/// goes on.
class GenerationTraffic {
public:
  /// `microseconds`: between samples; 0: none, and no rows. Asks the instrument, which may run its self test.
  GenerationTraffic(Backend &backend, std::int64_t microseconds);

  /// What the instrument says, at the beginning of `run`.
  void begin(RowId run, std::vector<Record> &rows);
  /// Samples since the last call; the first call starts, for `lanes` that are decoded together.
  void record(std::int64_t lanes, std::vector<Record> &rows);
  /// Stops: the last samples, and what was lost, which is known only now.
  void end(std::vector<Record> &rows);

  bool wanted() const { return m_microseconds > 0; }
  const SampledTraffic &sampled() const { return m_sampled; } ///< all rows together
  std::int64_t lost() const { return m_lost; }                ///< times that samples were, once it has ended
  const std::string &whyNot() const { return m_whyNot; }      ///< why there are none, or no more; empty: there are

private:
  template <class Work> void attempt(std::vector<Record> &rows, const Work &work);
  void take(std::vector<Record> &rows);
  void halt(std::vector<Record> &rows);
  void log(const char *level, std::string text, std::vector<Record> &rows) const;

  Instruments &m_instruments;
  std::int64_t m_microseconds;
  InstrumentStatus m_status; ///< at the beginning
  RowId m_run = 0;
  std::optional<std::int64_t> m_firstNs;
  std::optional<TrafficSampler> m_sampler;
  SampledTraffic m_sampled;
  std::int64_t m_lost = 0;
  std::string m_whyNot;
  bool m_ended = false;
};

} // namespace xqs
