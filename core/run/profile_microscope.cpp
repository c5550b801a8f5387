// SPDX-License-Identifier: Apache-2.0
// The microscope of a profile: what every kernel of the traced step moved, counted by itself.
#include "error.h"
#include "run/kernel_figures.h"
#include "run/profile_point.h"

#include <fmt/format.h>

namespace xqs {

namespace {

/// Why kernels of the traced step have no figure of the microscope.
std::string whyMissing(const KernelMatch &match, std::int64_t dropped, const char *figure) {
  std::string text = fmt::format("{} of {} kernels of the traced step have no {} by the microscope:", match.missing,
                                 match.launches, figure);
  if (dropped > 0) text += fmt::format(" {} were dropped, as counters hold no more of a step;", dropped);
  if (!match.same())
    text += fmt::format(" {} were not counted as often as traced, {} were counted instead: ", match.others, match.extra) +
            (match.others == match.launches ? "the timeline names no functions, or the counters know none;"
                                            : "a group of tokens closed in only one of the two steps;");
  text.back() = '.';
  return text;
}

} // namespace

/// Of each launch of the traced step what its kernel alone moved. The device runs one kernel after the other there, and some
/// of them again, on memory that is put back: bytes and hits are a launch's own, their time is no step's.
void PointProfiler::magnify() {
  magnify(CounterSet::Traffic, "counting every kernel by itself", "measured bytes");
  magnify(CounterSet::HitRate, "counting hits of every kernel by itself", "an L2 hit rate");
}

void PointProfiler::magnify(CounterSet set, const char *doing, const char *figure) {
  if (!m_instruments.canMagnify(set) || m_rows.kernels.empty()) return;
  if (!works(doing, "microscope-lost", [&] { countKernels(set, figure); })) m_instruments.loseMicroscope(set);
}

/// The traced step once more, where caches can be cut back to what it began with; else one that is a token further on, and
/// where that launched others, as a group of tokens closes in one of the two, the next one too.
void PointProfiler::countKernels(CounterSet set, const char *figure) {
  KernelMatch match;
  bool again = false;
  const auto step = [&] { again = m_sequences.rewind(m_traced), m_sequences.step(m_stop); };
  const auto count = [&] {
    const Instruments::Counted counted = m_instruments.get().count(set, RangeBy::Kernel, step);
    m_instruments.drop(Instrument::Counters, counted.dropped);
    match = addKernelFigures(m_rows.kernels, set, counted.ranges);
    return counted.dropped;
  };
  std::int64_t dropped = count();
  const bool other = match.missing > 0 && !match.same() && !again;
  if (other) dropped = count();
  if (other && match.missing == 0)
    problem("kernels-counted-later",
            fmt::format("kernels were counted for {} {} tokens after the traced step, and a group of tokens was packed "
                        "between them: what reads tokens that are not packed moved other bytes",
                        figure, m_sequences.tokens() - 1 - m_traced));
  if (match.missing > 0 && (!match.same() || dropped > 0)) // else a counter that the device has not
    problem("kernels-not-measured", whyMissing(match, dropped, figure));
}

} // namespace xqs
