// SPDX-License-Identifier: Apache-2.0
#include "run/generation_traffic.h"

#include "backend.h"
#include "run/machine.h"

#include <fmt/format.h>

#include <utility>

namespace xqs {

namespace {

InstrumentStatus samplingStatus(Instruments &instruments) {
  return instruments.status()[static_cast<std::size_t>(Instrument::Sampling)];
}

} // namespace

GenerationTraffic::GenerationTraffic(Backend &backend, std::int64_t microseconds)
    : m_instruments(backend.instruments()), m_microseconds(microseconds) {
  if (!wanted()) return;
  m_status = samplingStatus(m_instruments);
  if (!m_status.usable()) m_whyNot = m_status.sentence;
}

void GenerationTraffic::log(const char *level, std::string text, std::vector<Record> &rows) const {
  LogRow row;
  row.run = m_run, row.utc = utcNow(), row.level = level, row.text = std::move(text);
  rows.emplace_back(std::move(row));
}

void GenerationTraffic::begin(RowId run, std::vector<Record> &rows) {
  m_run = run;
  if (!wanted()) return;
  rows.emplace_back(instrumentRow(run, m_status, 0));
  if (!m_whyNot.empty()) log("warning", "memory traffic is not sampled: " + m_whyNot, rows);
}

/// What has worked and refuses now (another profiler took it) is not asked again in this run.
template <class Work> void GenerationTraffic::attempt(std::vector<Record> &rows, const Work &work) {
  try {
    work();
  } catch (const Error &error) {
    if (error.code() != Code::Unsupported && error.code() != Code::Usage) throw; // Usage: an interval that it cannot keep
    m_whyNot = error.what();
    halt(rows);
    ProblemRow row;
    row.run = m_run, row.code = "instrument-lost";
    row.text = fmt::format("sampling failed, and is not tried again in this run: {}", m_whyNot);
    rows.emplace_back(std::move(row));
  }
}

/// Also of one that has broken down, which is told already: what was sampled before is kept.
void GenerationTraffic::halt(std::vector<Record> &rows) {
  if (!m_sampler) return;
  const auto quietly = [](const auto &work) {
    try {
      work();
    } catch (const Error &) {
    }
  };
  quietly([&] { m_sampler->stop(); });
  quietly([&] { take(rows); });
  m_lost = m_sampler->lost();
  m_sampler.reset();
}

void GenerationTraffic::take(std::vector<Record> &rows) {
  for (ThroughputRow &row : m_sampler->take()) {
    m_sampled.add(row);
    rows.emplace_back(std::move(row));
  }
}

void GenerationTraffic::record(std::int64_t lanes, std::vector<Record> &rows) {
  if (!wanted() || !m_whyNot.empty()) return;
  attempt(rows, [&] {
    if (!m_sampler) m_sampler.emplace(m_instruments, PointKey{m_run, -1, 0, lanes}, m_microseconds, m_firstNs);
    take(rows);
  });
}

void GenerationTraffic::end(std::vector<Record> &rows) {
  if (std::exchange(m_ended, true) || !wanted()) return;
  if (m_sampler) attempt(rows, [&] { m_sampler->stop(), take(rows); });
  halt(rows);
  const InstrumentStatus now = samplingStatus(m_instruments);
  if (m_lost == 0 && now.state == m_status.state && now.sentence == m_status.sentence) return;
  rows.emplace_back(instrumentRow(m_run, now, m_lost));
  if (m_lost > 0) log("warning", fmt::format("memory traffic: times that samples were lost: {}", m_lost), rows);
}

} // namespace xqs
