// SPDX-License-Identifier: Apache-2.0
#include "progress.h"

#include <fmt/format.h>

#include <unistd.h>

namespace xqs::cli {

namespace {

std::string clock(double seconds) {
  const auto s = static_cast<long>(seconds + 0.5);
  return s >= 3600 ? fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60) : fmt::format("{}:{:02}", s / 60, s % 60);
}

} // namespace

ProgressLine::ProgressLine(std::FILE *stream, std::chrono::milliseconds every)
    : m_stream(stream), m_terminal(isatty(fileno(stream)) != 0), m_every(every) {}

ProgressLine::~ProgressLine() {
  if (m_dirty) std::fputs("\r\033[K", m_stream);
}

void ProgressLine::show(const std::string &text) {
  if (!m_terminal) return log(text);
  m_dirty = true;
  std::fputs(("\r\033[K" + text).c_str(), m_stream);
  std::fflush(m_stream);
}

void ProgressLine::log(const std::string &text) {
  const auto now = std::chrono::steady_clock::now();
  if (text.empty() || now - m_logged < m_every) return;
  m_logged = now;
  std::fputs((text + "\n").c_str(), m_stream);
  std::fflush(m_stream);
}
void ProgressLine::show(double fraction, const std::string &text) {
  show(fmt::format("{:3.0f} %  {}", 100 * fraction, text));
}

void ProgressLine::show(const RunProgress &progress) {
  if (progress.done == 0) return show(progress.text);
  show(static_cast<double>(progress.done) / static_cast<double>(progress.total),
       fmt::format("{}, {:.0f} tokens/s, {} left", progress.text, progress.tokensPerSecond, clock(progress.secondsLeft)));
}

void ProgressLine::show(const StudyProgress &progress) {
  if (progress.secondsLeft <= 0) return show(progress.fraction, progress.text);
  const std::string rate =
      progress.tokensPerSecond > 0 ? fmt::format(", {:.0f} tokens/s", progress.tokensPerSecond) : std::string();
  show(progress.fraction, fmt::format("{}{}, {} left", progress.text, rate, clock(progress.secondsLeft)));
}

} // namespace xqs::cli
