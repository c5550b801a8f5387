// SPDX-License-Identifier: Apache-2.0
#include "report_charts.h"

#include "svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>

namespace xqs {
namespace {

constexpr std::int64_t kMaxLayers = 1024; ///< a larger picture is a damaged row

// --- similarity ---

struct SiteTitle {
  const char *site, *title;
};
constexpr SiteTitle kSites[] = {
    {"x", "X after the norm"}, {"residual", "Residual stream"}, {"k", "K before RoPE"}, {"v", "V"}};

/// Blue at -1, near white at 0, red at 1 (ColorBrewer RdBu); grey where not a number.
std::array<std::uint8_t, 3> cosineColor(double cosine) {
  struct Stop {
    double at;
    double rgb[3];
  };
  static constexpr Stop kStops[] = {{-1, {5, 48, 97}},       {-0.5, {67, 147, 195}}, {0, {247, 247, 247}},
                                    {0.25, {253, 219, 199}}, {0.5, {244, 165, 130}}, {0.75, {214, 96, 77}},
                                    {1, {103, 0, 31}}};
  if (!std::isfinite(cosine)) return {128, 128, 128};
  cosine = std::clamp(cosine, -1.0, 1.0);
  std::size_t i = 0;
  while (i + 2 < std::size(kStops) && cosine > kStops[i + 1].at) ++i;
  const double share = (cosine - kStops[i].at) / (kStops[i + 1].at - kStops[i].at);
  std::array<std::uint8_t, 3> rgb;
  for (int c = 0; c < 3; ++c)
    rgb[c] = static_cast<std::uint8_t>(std::lround(kStops[i].rgb[c] + share * (kStops[i + 1].rgb[c] - kStops[i].rgb[c])));
  return rgb;
}

std::string image(double x, double y, double width, double height, const std::string &uri) {
  return fmt::format("<image x='{}' y='{}' width='{}' height='{}' preserveAspectRatio='none' "
                     "style='image-rendering:pixelated' href='{}'/>",
                     x, y, width, height, uri);
}

/// Layer numbers worth a tick: about eight.
std::vector<int> layerTicks(int layers) {
  int step = 1;
  for (const int candidate : {1, 2, 5, 10, 20, 50, 100, 200})
    if (layers / (step = candidate) <= 8) break;
  std::vector<int> ticks;
  for (int layer = 0; layer < layers; layer += step) ticks.push_back(layer);
  return ticks;
}

std::string similarityMap(const char *title, const std::vector<double> &cosine, int layers) {
  constexpr double kSide = 208, kX = 34, kY = 6;
  std::vector<std::uint8_t> rgb;
  for (const double value : cosine)
    for (const std::uint8_t channel : cosineColor(value)) rgb.push_back(channel);
  const double cell = kSide / layers;
  std::string out =
      fmt::format("<figure><svg viewBox='0 0 250 254' width='250' role='img' aria-label='{}'>", svg::escape(title));
  out += image(kX, kY, kSide, kSide, svg::imageUri(layers, layers, rgb));
  out += fmt::format("<rect x='{}' y='{}' width='{}' height='{}' class='frame'/>", kX, kY, kSide, kSide);
  for (const int layer : layerTicks(layers)) {
    const double at = (layer + 0.5) * cell;
    out += svg::text(kX + at, kY + kSide + 14, "class='tick' text-anchor='middle'", std::to_string(layer));
    out += svg::text(kX - 5, kY + at + 4, "class='tick' text-anchor='end'", std::to_string(layer));
  }
  out += svg::text(kX + kSide / 2, kY + kSide + 32, "class='tick' text-anchor='middle'", "layer");
  double neighbours = 0;
  for (int i = 0; i + 1 < layers; ++i) neighbours += cosine[std::size_t(i) * layers + i + 1] / (layers - 1);
  return out + fmt::format("</svg><figcaption><b>{}</b><br>neighbours: {} on average</figcaption></figure>",
                           svg::escape(title), layers > 1 ? svg::number(neighbours, 3) : "—");
}

std::string colorBar() {
  std::vector<std::uint8_t> rgb;
  for (int i = 0; i < 101; ++i)
    for (const std::uint8_t channel : cosineColor(i / 50.0 - 1)) rgb.push_back(channel);
  std::string out = "<svg viewBox='0 0 330 34' width='330' role='img' aria-label='colour scale'>";
  out += image(10, 2, 200, 12, svg::imageUri(101, 1, rgb));
  for (const double tick : {-1.0, -0.5, 0.0, 0.5, 1.0})
    out += svg::text(110 + 100 * tick, 28, "class='tick' text-anchor='middle'", svg::number(tick, 1));
  return out + svg::text(222, 13, "class='tick'", "mean cosine") + "</svg>";
}

/// Mean of the windows of one site; empty without a usable row.
std::vector<double> meanCosine(const std::vector<SimilarityRow> &rows, const std::string &site, std::int64_t layers) {
  std::vector<double> sum(static_cast<std::size_t>(layers * layers), 0);
  int count = 0;
  for (const SimilarityRow &row : rows) {
    if (row.site != site || row.layers != layers || row.cosine.size() != sum.size() * sizeof(float)) continue;
    for (std::size_t i = 0; i < sum.size(); ++i) {
      float value;
      std::memcpy(&value, &row.cosine[i * sizeof value], sizeof value);
      sum[i] += value;
    }
    ++count;
  }
  if (count == 0) return {};
  for (double &value : sum) value /= count;
  return sum;
}

// --- errors by layer ---

constexpr double kLeft = 60, kRight = 640, kTop = 12, kBottom = 332, kWidth = 900, kHeight = 384;

struct Line {
  const PolicyRow *policy = nullptr;
  std::map<std::int64_t, std::pair<double, int>> layers; ///< sum and number of windows
  double at(std::int64_t layer) const {
    const auto found = layers.find(layer);
    return found == layers.end() ? std::nan("") : found->second.first / found->second.second;
  }
};

std::vector<Line> linesOf(const std::vector<PolicyRow> &policies, const std::vector<LayerErrorRow> &rows,
                          const std::string &loop, double LayerErrorRow::*error) {
  std::vector<Line> lines;
  for (const PolicyRow &policy : policies) {
    if (policy.method == "fp16") continue; // rounding alone: three decades below the others
    Line line{&policy, {}};
    for (const LayerErrorRow &row : rows) {
      if (row.run != policy.run || row.policy != policy.index || row.loop != loop) continue;
      if (row.layer < 0 || row.layer >= kMaxLayers || !std::isfinite(row.*error) || row.*error <= 0) continue;
      auto &[sum, count] = line.layers[row.layer];
      sum += row.*error, ++count;
    }
    if (!line.layers.empty()) lines.push_back(std::move(line));
  }
  return lines;
}

/// Lines of one method are told apart by the width of their codes: 2 bits is unbroken.
const char *dashOf(const std::string &bits) {
  if (bits == "3") return " stroke-dasharray='7 3'";
  if (bits == "4") return " stroke-dasharray='2 3'";
  return bits == "8" ? " stroke-dasharray='1 5' stroke-linecap='round'" : "";
}

/// Names at the right end of their lines, moved apart so that none covers another.
std::string lineNames(const std::vector<Line> &lines, const svg::Scale &y) {
  std::vector<std::pair<double, const Line *>> names;
  for (const Line &line : lines) names.emplace_back(y(line.at(line.layers.rbegin()->first)), &line);
  std::sort(names.begin(), names.end());
  const double pitch = std::min(13.0, (kBottom - kTop + 12) / static_cast<double>(names.size()));
  double next = kTop + 2;
  std::vector<double> places;
  for (const auto &[at, line] : names) places.push_back(next = std::max(at, next)), next += pitch;
  double limit = kBottom + 6;
  for (std::size_t i = places.size(); i-- > 0;) limit = (places[i] = std::min(places[i], limit)) - pitch;
  std::string out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const PolicyRow &policy = *names[i].second->policy;
    const int color = methodColor(policy.method);
    const SeriesOf series = seriesOf(policy.policy);
    out += svg::line(kRight + 2, names[i].first, kRight + 16, places[i],
                     fmt::format("style='stroke:var(--m{})' opacity='.6'", color));
    const std::string attributes =
        fmt::format("style='fill:var(--m{});font-size:{:.1f}px'", color, std::min(11.0, pitch * 0.95));
    std::string name = methodTitle(policy.method) + (series.bits.empty() ? "" : "-" + series.bits);
    if (!series.settings.empty()) name += "  " + series.settings;
    if (name.size() > 44) name = name.substr(0, 42) + "…";
    out += svg::text(kRight + 20, places[i] + 3.5, attributes, name);
  }
  return out;
}

std::string errorChart(const std::string &title, const std::vector<Line> &lines) {
  if (lines.empty()) return "";
  double low = 1e300, high = 0;
  std::int64_t last = 0;
  for (const Line &line : lines)
    for (const auto &[layer, value] : line.layers) {
      low = std::min(low, line.at(layer)), high = std::max(high, line.at(layer)), last = std::max(last, layer);
    }
  const svg::Scale x{-0.5, static_cast<double>(last) + 0.5, kLeft, kRight, false};
  const svg::Scale y{low / 1.15, high * 1.15, kBottom, kTop, true};
  std::string out = fmt::format("<figure><svg viewBox='0 0 {0} {1}' width='1060' role='img' aria-label='{2}'>", kWidth,
                                kHeight, svg::escape(title));
  for (const double tick : y.ticks(6)) {
    out += svg::line(kLeft, y(tick), kRight, y(tick), "class='grid'");
    out += svg::text(kLeft - 8, y(tick) + 4, "class='tick' text-anchor='end'", fmt::format("{:g}", tick));
  }
  for (const int layer : layerTicks(static_cast<int>(last) + 1))
    out += svg::text(x(layer), kBottom + 17, "class='tick' text-anchor='middle'", std::to_string(layer));
  out +=
      fmt::format("<rect x='{}' y='{}' width='{}' height='{}' class='frame'/>", kLeft, kTop, kRight - kLeft, kBottom - kTop);
  for (const Line &line : lines) {
    std::string points;
    for (const auto &[layer, value] : line.layers)
      points += fmt::format("{:.1f},{:.1f} ", x(static_cast<double>(layer)), y(line.at(layer)));
    out += fmt::format(
        "<polyline points='{}' fill='none' style='stroke:var(--m{})' stroke-width='1.5'{}><title>{}</title></polyline>",
        points, methodColor(line.policy->method), dashOf(seriesOf(line.policy->policy).bits),
        svg::escape(line.policy->policy));
  }
  out += svg::text((kLeft + kRight) / 2, kHeight - 12, "text-anchor='middle'", "Layer");
  out += svg::text(0, 0, fmt::format("text-anchor='middle' transform='translate(14 {}) rotate(-90)'", (kTop + kBottom) / 2),
                   title);
  return out + lineNames(lines, y) + "</svg></figure>";
}

} // namespace

std::string similarityMaps(const std::vector<SimilarityRow> &rows) {
  std::string maps;
  for (const auto &[site, title] : kSites) {
    const auto first = std::find_if(rows.begin(), rows.end(), [&](const SimilarityRow &row) { return row.site == site; });
    if (first == rows.end() || first->layers < 1 || first->layers > kMaxLayers) continue;
    const std::vector<double> cosine = meanCosine(rows, site, first->layers);
    if (!cosine.empty()) maps += similarityMap(title, cosine, static_cast<int>(first->layers));
  }
  return maps.empty() ? "" : "<div class='maps'>" + maps + "</div>" + colorBar();
}

std::string layerErrorCharts(const std::vector<PolicyRow> &policies, const std::vector<LayerErrorRow> &rows,
                             const std::string &loop) {
  const std::string charts =
      errorChart("Relative error of K after RoPE (log scale)", linesOf(policies, rows, loop, &LayerErrorRow::k)) +
      errorChart("Relative error of V (log scale)", linesOf(policies, rows, loop, &LayerErrorRow::v));
  return charts.empty()
             ? ""
             : charts + "<p class='muted'>Frobenius norm of the error / norm of the exact tensor. One colour a method; "
                        "unbroken: 2 bits, long dashes: 3, short dashes: 4, dots: 8. FP16 KV is left out.</p>";
}

} // namespace xqs
