// SPDX-License-Identifier: Apache-2.0
#include "report_profile.h"

#include "curve.h"
#include "report_charts.h"
#include "svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace xqs {
namespace {

constexpr double kLeft = 64, kRight = 876, kTop = 18, kBottom = 360, kWidth = 900, kHeight = 412;
constexpr double kShownWidth = 1060; ///< CSS pixels; the numbers above are the viewBox
constexpr double kTickRoom = 34;     ///< of one label
constexpr double kRadius = 6.2;      ///< of a marker, which holds the width of the codes

/// A point that can be drawn: it has FP16's beside it.
struct Dot {
  const TradePoint *point;
  double size, time; ///< cache bytes and time of a step, both over FP16's
  int shape;         ///< of its context and batch
};

std::vector<Dot> dotsOf(const std::vector<TradePoint> &points) {
  std::vector<Dot> dots;
  std::vector<std::pair<std::int64_t, std::int64_t>> settings;
  for (const TradePoint &p : points) {
    const double fp16 = p.cacheBytes + p.savedBytes, size = p.cacheBytes / fp16;
    if (!(size > 0) || !(p.stepRatio > 0) || !std::isfinite(p.stepRatio)) continue;
    const std::pair setting(p.key.context, p.key.batch);
    auto known = std::find(settings.begin(), settings.end(), setting);
    if (known == settings.end()) known = settings.insert(known, setting);
    dots.push_back({&p, size, p.stepRatio, static_cast<int>(known - settings.begin())});
  }
  return dots;
}

struct Frame {
  svg::Scale x, y;
};

Frame frameOf(const std::vector<Dot> &dots) {
  double small = 1, large = 1, low = 0.9, high = 1.1;
  for (const Dot &dot : dots) {
    small = std::min(small, dot.size), large = std::max(large, dot.size);
    low = std::min(low, dot.time), high = std::max(high, dot.time);
  }
  const double margin = std::pow(high / low, 0.07);
  return {{small / 1.2, large * 1.15, kLeft, kRight, true}, {low / margin, high * margin, kBottom, kTop, true}};
}

std::string axes(const Frame &f) {
  std::string out;
  double last = 0;
  for (const double tick : f.x.ticks(10)) {
    if (f.x(tick) - last < kTickRoom) continue;
    last = f.x(tick);
    out += svg::line(f.x(tick), kTop, f.x(tick), kBottom, "class='grid'");
    out += svg::text(f.x(tick), kBottom + 17, "class='tick' text-anchor='middle'", fmt::format("{:g}", tick));
  }
  for (const double tick : f.y.ticks(7)) {
    out += svg::line(kLeft, f.y(tick), kRight, f.y(tick), "class='grid'");
    out += svg::text(kLeft - 8, f.y(tick) + 4, "class='tick' text-anchor='end'", fmt::format("{:g}", tick));
  }
  out += svg::line(kLeft, f.y(1), kRight, f.y(1), "class='one'");
  out +=
      fmt::format("<rect x='{}' y='{}' width='{}' height='{}' class='frame'/>", kLeft, kTop, kRight - kLeft, kBottom - kTop);
  out += svg::text((kLeft + kRight) / 2, kHeight - 12, "text-anchor='middle'",
                   "Cache bytes of a step / FP16's, counted (log scale)");
  return out + svg::text(0, 0,
                         fmt::format("text-anchor='middle' transform='translate(16 {}) rotate(-90)'", (kTop + kBottom) / 2),
                         "Time of a step / FP16's (log scale)");
}

std::string dotMark(const Frame &f, const Dot &dot) {
  const TradePoint &p = *dot.point;
  const double x = f.x(dot.size), y = f.y(dot.time);
  const std::string title =
      fmt::format("<title>{}, {} tokens x {}\n{} ms a step: {} of FP16's\n{} MB of cache counted, {} MB saved</title>",
                  svg::escape(p.policy), p.key.context, p.key.batch, svg::number(1e3 * p.step.seconds),
                  svg::number(dot.time, 3), svg::number(1e-6 * p.cacheBytes), svg::number(1e-6 * p.savedBytes));
  const std::string style = fmt::format("style='fill:var(--m{});stroke:var(--bg)' stroke-width='1'", methodColor(p.method));
  return "<g>" + title + svg::marker(dot.shape, x, y, kRadius, style) +
         svg::text(x, y + 3, "class='bits' text-anchor='middle'", seriesOf(p.policy).bits) + "</g>";
}

/// Points of one policy behind each other, by context: how its cost grows.
std::string path(const Frame &f, const std::vector<Dot> &dots, std::int64_t policy, std::int64_t batch) {
  std::string points;
  const std::string *method = nullptr;
  for (const Dot &dot : dots)
    if (dot.point->key.policy == policy && dot.point->key.batch == batch)
      points += fmt::format("{:.1f},{:.1f} ", f.x(dot.size), f.y(dot.time)), method = &dot.point->method;
  if (method == nullptr) return "";
  return fmt::format("<polyline points='{}' fill='none' style='stroke:var(--m{})' stroke-width='1.2' opacity='.5'/>", points,
                     methodColor(*method));
}

std::string key(const std::string &mark, const std::string &text) {
  return fmt::format("<li><svg width='16' height='16'>{}</svg>{}</li>", mark, svg::escape(text));
}

std::string legend(const std::vector<Dot> &dots) {
  std::string methods, settings;
  std::vector<std::string> seen;
  const auto isNew = [&](const std::string &name) {
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) return false;
    seen.push_back(name);
    return true;
  };
  for (const Dot &dot : dots) {
    const TradePoint &p = *dot.point;
    if (isNew(p.method))
      methods +=
          key(svg::marker(0, 8, 8, 5, fmt::format("style='fill:var(--m{})'", methodColor(p.method))), methodTitle(p.method));
    const std::string setting = fmt::format("{} tokens, batch {}", p.key.context, p.key.batch);
    if (isNew(setting)) settings += key(svg::marker(dot.shape, 8, 8, 5, "style='fill:var(--muted)'"), setting);
  }
  return "<ul class='keys'>" + methods + "</ul><ul class='keys'>" + settings + "</ul>";
}

} // namespace

std::string tradeChart(const std::vector<TradePoint> &points) {
  const std::vector<Dot> dots = dotsOf(points);
  if (dots.empty()) return "";
  const Frame frame = frameOf(dots);
  std::string out = fmt::format("<figure><svg viewBox='0 0 {} {}' width='{}' role='img' aria-label='Cache bytes saved "
                                "against the time of a step'>",
                                kWidth, kHeight, kShownWidth);
  out += axes(frame);
  std::vector<std::pair<std::int64_t, std::int64_t>> drawn;
  for (const Dot &dot : dots)
    if (const std::pair line(dot.point->key.policy, dot.point->key.batch);
        std::find(drawn.begin(), drawn.end(), line) == drawn.end()) {
      drawn.push_back(line);
      out += path(frame, dots, line.first, line.second);
    }
  for (const Dot &dot : dots) out += dotMark(frame, dot);
  return out + "</svg>" + legend(dots) +
         "<figcaption>Left: fewer cache bytes. Below the dashed line: a step is faster than with FP16 KV, above it: "
         "rebuilding "
         "costs more time than the saved bytes win. A marker holds the bits of a code; lines join the contexts of one "
         "policy.</figcaption></figure>";
}

} // namespace xqs
