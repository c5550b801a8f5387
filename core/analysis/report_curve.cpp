// SPDX-License-Identifier: Apache-2.0
#include "report_charts.h"

#include "svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace xqs {
namespace {

constexpr double kLeft = 64, kRight = 876, kTop = 18, kBottom = 400, kWidth = 900, kHeight = 452;
constexpr double kShownWidth = 1060; ///< CSS pixels; the numbers above are the viewBox
constexpr double kMaxRatio = 4;      ///< a policy that quadruples perplexity is broken: it is named at the edge
constexpr double kRadius = 6.2;      ///< of a marker, which holds the width of the codes
constexpr double kLogarithmicFrom = 1.3;

constexpr const char *kMethodColors[] = {"fp16", "kivi", "kivi-star", "xquant", "xquant-cl", "low-rank", "kvquant"};

struct Series {
  std::string method, settings;
  int shape = 0;                          ///< among the series of its method
  std::vector<const CurvePoint *> points; ///< by size
};

std::vector<Series> seriesOfPoints(const std::vector<CurvePoint> &points) {
  std::vector<Series> all;
  std::map<std::string, int> shapes;
  for (const CurvePoint &point : points) {
    if (point.windows.empty()) continue;
    const std::string settings = seriesOf(point.policy).settings;
    auto found = std::find_if(all.begin(), all.end(),
                              [&](const Series &s) { return s.method == point.method && s.settings == settings; });
    if (found == all.end()) found = all.insert(all.end(), {point.method, settings, shapes[point.method]++, {}});
    found->points.push_back(&point);
  }
  const auto rank = [&](const Series &s) { // methods in the order of their first policy
    return std::find_if(all.begin(), all.end(), [&](const Series &other) { return other.method == s.method; }) - all.begin();
  };
  std::vector<std::pair<std::ptrdiff_t, Series>> ranked;
  for (const Series &series : all) ranked.emplace_back(rank(series), series);
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto &a, const auto &b) { return a.first < b.first; });
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = std::move(ranked[i].second);
  for (Series &series : all)
    std::stable_sort(series.points.begin(), series.points.end(),
                     [](const auto *a, const auto *b) { return a->relativeSize < b->relativeSize; });
  return all;
}

struct Frame {
  svg::Scale x, y;
  /// Pixel of a ratio; what lies outside, or is not a number, is put on the edge.
  double yOf(double ratio) const { return std::isfinite(ratio) ? y(std::clamp(ratio, y.min, y.max)) : y.to; }
};

Frame frameOf(const std::vector<CurvePoint> &points) {
  double small = 1, large = 1, low = 1, high = 1.004;
  for (const CurvePoint &p : points) {
    if (p.windows.empty()) continue;
    if (p.relativeSize > 0) small = std::min(small, p.relativeSize), large = std::max(large, p.relativeSize);
    if (!std::isfinite(p.ratio.mean)) continue;
    low = std::min(low, p.ratio.mean);
    high = std::max(high, p.ratio.mean);
  }
  Frame frame;
  frame.x = {small / 1.25, large * 1.08, kLeft, kRight, true};
  high = std::min(high, kMaxRatio);
  low = std::max(low, 0.5);
  frame.y.logarithmic = high > kLogarithmicFrom;
  const double margin = frame.y.logarithmic ? std::pow(high / low, 0.08) : 1 + (high - low) * 0.12;
  frame.y.min = low / margin, frame.y.max = high * margin;
  frame.y.from = kBottom, frame.y.to = kTop;
  return frame;
}

std::string axes(const Frame &f) {
  std::string out;
  for (const double tick : f.x.ticks(10)) {
    out += svg::line(f.x(tick), kTop, f.x(tick), kBottom, "class='grid'");
    out += svg::text(f.x(tick), kBottom + 17, "class='tick' text-anchor='middle'", fmt::format("{:g}", tick));
  }
  for (const double tick : f.y.ticks(7)) {
    out += svg::line(kLeft, f.y(tick), kRight, f.y(tick), "class='grid'");
    out += svg::text(kLeft - 8, f.y(tick) + 4, "class='tick' text-anchor='end'", fmt::format("{:g}", tick));
  }
  if (f.y.holds(1)) out += svg::line(kLeft, f.y(1), kRight, f.y(1), "class='one'");
  out +=
      fmt::format("<rect x='{}' y='{}' width='{}' height='{}' class='frame'/>", kLeft, kTop, kRight - kLeft, kBottom - kTop);
  out +=
      svg::text((kLeft + kRight) / 2, kHeight - 12, "text-anchor='middle'", "Cache size / FP16 KV cache size (log scale)");
  const std::string title = f.y.logarithmic ? "Perplexity / perplexity of the exact model (log scale)"
                                            : "Perplexity / perplexity of the exact model";
  return out + svg::text(0, 0,
                         fmt::format("text-anchor='middle' transform='translate(16 {}) rotate(-90)'", (kTop + kBottom) / 2),
                         title);
}

/// A polyline through the finite ones of (x, y) pairs inside or just beyond the frame.
std::string polyline(const Frame &f, const std::vector<std::pair<double, double>> &values, const std::string &attributes) {
  std::string points;
  for (const auto &[x, y] : values)
    if (std::isfinite(y) && y > 0) points += fmt::format("{:.1f},{:.1f} ", f.x(x), f.y(y));
  return fmt::format("<polyline points='{}' fill='none' clip-path='url(#frame)' {}/>", points, attributes);
}

std::string publishedCurves(const Frame &f, const std::vector<PublishedRow> &rows) {
  std::map<std::pair<std::string, std::string>, std::vector<std::pair<double, double>>> curves;
  for (const PublishedRow &row : rows)
    if (row.method != "fp16") curves[{row.method, row.model}].emplace_back(row.relativeSize, row.ratio);
  std::string out;
  for (auto &[key, values] : curves) {
    std::sort(values.begin(), values.end());
    out += polyline(f, values,
                    fmt::format("style='stroke:var(--m{})' stroke-width='5' stroke-linecap='round' opacity='.28'",
                                methodColor(key.first)));
  }
  return out;
}

std::string tooltip(const CurvePoint &p) {
  return fmt::format("<title>{}\nsize {} of FP16 KV, {} bits an element\nppl {} against {} exact: ratio {} ({} to {})\n"
                     "mean KL {} nats, top-1 {} %, {} windows</title>",
                     svg::escape(p.policy), svg::number(p.relativeSize), svg::number(p.bitsPerElement), svg::number(p.ppl),
                     svg::number(p.exactPpl), svg::number(p.ratio.mean), svg::number(p.ratio.low), svg::number(p.ratio.high),
                     svg::number(p.kl.mean), svg::number(100 * p.top1), p.windows.size());
}

/// Where the values of points beyond the frame are written without covering each other.
class EdgeLabels {
public:
  std::string add(double x, double y, const std::string &text) {
    while (std::any_of(m_taken.begin(), m_taken.end(),
                       [&](const auto &at) { return std::abs(at.first - x) < 84 && std::abs(at.second - y) < 12; }))
      y += 12;
    m_taken.emplace_back(x, y);
    return svg::text(x + 9, y, "class='small halo'", text);
  }

private:
  std::vector<std::pair<double, double>> m_taken;
};

std::string pointMark(const Frame &f, const CurvePoint &p, int shape, EdgeLabels &labels) {
  const int color = methodColor(p.method);
  const double x = f.x(p.relativeSize), y = f.yOf(p.ratio.mean);
  const bool above = !(p.ratio.mean <= f.y.max);
  std::string out = "<g>" + tooltip(p);
  if (above) {
    out += fmt::format("<path d='M{:.1f} {:.1f}l-5 9h10z' style='fill:var(--m{})'/>", x, kTop + 2, color);
    const std::string bits = seriesOf(p.policy).bits;
    const std::string value = std::isfinite(p.ratio.mean) ? "×" + svg::number(p.ratio.mean, 3) : "not finite";
    return out + labels.add(x, kTop + 12, value + (bits.empty() ? "" : ", " + bits + " bits")) + "</g>";
  }
  if (std::isfinite(p.ratio.low)) {
    const std::string stroke = fmt::format("style='stroke:var(--m{})' stroke-width='1.3' opacity='.75'", color);
    const double top = f.yOf(p.ratio.high), bottom = f.yOf(p.ratio.low);
    out += svg::line(x, top, x, bottom, stroke);
    if (f.y.holds(p.ratio.high)) out += svg::line(x - 4, top, x + 4, top, stroke);
    if (f.y.holds(p.ratio.low)) out += svg::line(x - 4, bottom, x + 4, bottom, stroke);
  }
  out += svg::marker(shape, x, y, kRadius, fmt::format("style='fill:var(--m{});stroke:var(--bg)' stroke-width='1'", color));
  out += svg::text(x, y + 3, "class='bits' text-anchor='middle'", seriesOf(p.policy).bits);
  return out + "</g>";
}

std::string legend(const std::vector<Series> &series, const std::vector<PublishedRow> &published) {
  std::string out = "<ul class='keys'>";
  for (const Series &s : series) {
    const std::string mark = svg::marker(s.shape, 13, 8, 5, fmt::format("style='fill:var(--m{})'", methodColor(s.method)));
    out += fmt::format(
        "<li><svg width='26' height='16'>{}{}</svg>{} <span class='muted'>{}</span></li>",
        s.points.size() > 1 ? svg::line(0, 8, 26, 8, fmt::format("style='stroke:var(--m{})'", methodColor(s.method))) : "",
        mark, svg::escape(methodTitle(s.method)), svg::escape(s.settings));
  }
  std::map<std::string, std::string> labels; // one entry a published method: "KIVI*" of "KIVI*-4"
  for (const PublishedRow &row : published)
    if (row.method != "fp16") labels.emplace(row.method, row.label.substr(0, row.label.find_first_of("0123456789") - 1));
  for (const auto &[method, label] : labels)
    out += fmt::format("<li><svg width='26' height='16'>{}</svg><span class='muted'>{}, published</span></li>",
                       svg::line(3, 8, 23, 8,
                                 fmt::format("style='stroke:var(--m{})' stroke-width='5' stroke-linecap='round' "
                                             "opacity='.3'",
                                             methodColor(method))),
                       svg::escape(label));
  return out + "</ul>";
}

} // namespace

int methodColor(const std::string &method) {
  const auto found = std::find(std::begin(kMethodColors), std::end(kMethodColors), method);
  return static_cast<int>(found - std::begin(kMethodColors)); // unknown ones share the last
}

std::string curveChart(const std::vector<CurvePoint> &points, const std::vector<PublishedRow> &published) {
  const std::vector<Series> series = seriesOfPoints(points);
  if (series.empty()) return "";
  const Frame frame = frameOf(points);
  std::string out = fmt::format("<svg viewBox='0 0 {} {}' width='{}' role='img' aria-label='Cache size against "
                                "perplexity'><clipPath id='frame'><rect x='{}' y='{}' width='{}' height='{}'/></clipPath>",
                                kWidth, kHeight, kShownWidth, kLeft, kTop, kRight - kLeft, kBottom - kTop);
  out += axes(frame) + publishedCurves(frame, published);
  for (const Series &s : series) {
    std::vector<std::pair<double, double>> values;
    for (const CurvePoint *p : s.points) values.emplace_back(p->relativeSize, p->ratio.mean);
    out += polyline(frame, values,
                    fmt::format("style='stroke:var(--m{})' stroke-width='1.6' opacity='.8'", methodColor(s.method)));
  }
  EdgeLabels labels;
  for (const Series &s : series)
    for (const CurvePoint *p : s.points) out += pointMark(frame, *p, s.shape, labels);
  return out + "</svg>" + legend(series, published);
}

} // namespace xqs
