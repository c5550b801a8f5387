// SPDX-License-Identifier: Apache-2.0
#include "verdict_text.h"

#include "curve.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace xqs {
namespace {

using Rows = std::vector<const VerdictRow *>;

template <class Condition> Rows rowsWhere(const Verdict &verdict, Condition condition) {
  Rows rows;
  for (const VerdictRow &row : verdict.rows)
    if (condition(row)) rows.push_back(&row);
  return rows;
}

/// "A", "A and B", "A, B and C".
std::string names(const Rows &rows) {
  std::string text;
  for (std::size_t i = 0; i < rows.size(); ++i)
    text += (i == 0 ? "" : i + 1 == rows.size() ? " and " : ", ") + rows[i]->name;
  return text;
}

/// "1.9 times" or, below one, "0.62 of".
std::string timesText(double ratio) { return ratioText(ratio) + (ratio < 0.995 ? " of" : " times"); }

std::string rateText(double rate) { // data sheets count in powers of 1000
  return rate < 1e12 ? fmt::format("{:.4g} GB/s", 1e-9 * rate) : fmt::format("{:.4g} TB/s", 1e-12 * rate);
}

std::string bytesSentence(const Verdict &v) {
  const double least = v.rows[v.smallest].cacheBytes;
  const Rows rows = rowsWhere(v, [&](const VerdictRow &row) { return row.cacheBytes < 1.001 * least; });
  return fmt::format("Bytes: {} {} least, {} of FP16's bytes: {} a sequence (counted).", names(rows),
                     rows.size() == 1 ? "stores" : "store", ratioText(rows.front()->bytesRatio), bytesText(least));
}

std::string qualitySentence(const Verdict &v) {
  const Rows front = rowsWhere(v, [](const VerdictRow &row) { return row.front; });
  if (front.empty())
    return "Quality: none is known of these policies on this model; open a store in which they were scored.";
  const Quality &quality = front.front()->quality;
  return fmt::format("Quality per byte: {} {} not beaten in both bytes and {} ({}, {}).", names(front),
                     front.size() == 1 ? "is" : "are", std::isnan(quality.kl) ? "perplexity" : "KL", quality.of,
                     basisName(quality.basis));
}

std::string timeSentence(const Verdict &v) {
  const VerdictRow &best = v.rows[v.fastest];
  std::string text = fmt::format("Time: {} is fastest, {} a step ({})", best.name, secondsText(best.time.seconds),
                                 basisName(best.time.basis));
  if (v.fastest != 0 && !std::isnan(best.timeRatio))
    text += fmt::format(", {} FP16's time ({})", timesText(best.timeRatio), basisName(best.timeRatioBasis));
  const Rows level = rowsWhere(v, [&](const VerdictRow &row) {
    return &row != &best && row.time.basis == Basis::Measured && row.time.low <= best.time.high;
  });
  if (!level.empty())
    text += fmt::format("; its quartiles overlap with those of {}: measure longer before you tell them apart", names(level));
  return text + ".";
}

std::string fitSentence(const Verdict &v, const Hardware &hardware) {
  const Rows tooLarge = rowsWhere(v, [](const VerdictRow &row) { return !row.fits.value_or(true); });
  if (tooLarge.empty()) return {};
  const double least = (*std::ranges::min_element(tooLarge, {}, &VerdictRow::memoryBytes))->memoryBytes;
  return fmt::format(
      "Memory: {} {} not fit into {}: {} may hold weights and caches, {}{} needed (counted). Timed with what does not fit "
      "copied from the host's memory in every step, under everything else.",
      names(tooLarge), tooLarge.size() == 1 ? "does" : "do", hardware.name, bytesText(hardware.usableMemory()),
      bytesText(least), tooLarge.size() == 1 ? " are" : " or more are");
}

/// "A and B take 1.38 to 6.53" with the basis of the figures behind: "times FP16's time (predicted)".
std::string takeText(const Rows &rows, const char *unit) {
  const auto [least, most] = std::ranges::minmax_element(rows, {}, &VerdictRow::timeRatio);
  const std::string low = ratioText((*least)->timeRatio), high = ratioText((*most)->timeRatio);
  const bool measured =
      std::ranges::all_of(rows, [](const VerdictRow *row) { return row->timeRatioBasis == Basis::Measured; });
  return fmt::format("{} {} {} {} FP16's time ({})", names(rows), rows.size() == 1 ? "takes" : "take",
                     low == high ? low : fmt::format("{} to {}", low, high), unit,
                     basisName(measured ? Basis::Measured : Basis::Predicted));
}

/// The honest one: what rebuilding K and V costs against reading FP16 ones.
std::string rebuildSentence(const Verdict &v) {
  const Rows slower = rowsWhere(v, [](const VerdictRow &row) { return row.rebuilds && row.timeRatio > 1; });
  const Rows faster = rowsWhere(v, [](const VerdictRow &row) { return row.rebuilds && row.timeRatio <= 1; });
  if (faster.empty())
    return slower.empty() ? std::string()
                          : fmt::format("Rebuilding costs more time than it saves here: {}. What {} bytes, so capacity.",
                                        takeText(slower, "times"), slower.size() == 1 ? "it wins is" : "they win is");
  std::string text =
      (slower.empty() ? "Rebuilding pays here: " : "Rebuilding pays for some here: ") + takeText(faster, "of");
  if (!v.rows.front().fits.value_or(true)) text += ", because part of FP16 KV has to come from the host's memory";
  if (!slower.empty()) text += "; " + takeText(slower, "times");
  if (const VerdictRow &best = v.rows[v.fastest]; !best.rebuilds && v.fastest != 0)
    text += fmt::format("; {}, which rebuilds nothing, takes {}", best.name, ratioText(best.timeRatio));
  return text + ".";
}

std::string hiddenSentence(const Verdict &v) {
  const Rows rebuilding = rowsWhere(v, [](const VerdictRow &row) { return row.rebuilds; });
  if (rebuilding.empty()) return {};
  const auto cost = [](const VerdictRow *row) { return std::pair(row->hiddenRatio, row->cacheBytes); };
  const VerdictRow &best = **std::ranges::min_element(rebuilding, {}, cost);
  return fmt::format("Rebuilding hidden perfectly under the loading of weights: {} would take {} FP16's time (predicted).",
                     best.name, timesText(best.hiddenRatio));
}

/// What predictions, those of the map among them, are worth on this machine.
std::string checkSentence(const PredictionCheck &check) {
  if (check.points == 0) return {};
  constexpr double kBound = 1.25; ///< of a prediction that calls itself more than a bound
  const std::string low = ratioText(check.least), high = ratioText(check.most);
  std::string text = fmt::format("Predictions: at {} {} a step took {} times what is predicted from counted bytes and FLOPs",
                                 check.points, check.points == 1 ? "measured point" : "measured points",
                                 low == high ? low : fmt::format("{} to {}", low, high));
  if (check.most > kBound) text += "; predicted times, the map's among them, are a lower bound of what these kernels take";
  return text + ".";
}

} // namespace

std::string VerdictRow::sentence() const {
  if (method == "fp16")
    return fmt::format("{} stores {} a sequence (counted) and takes {} a step here ({}{}).", name, bytesText(cacheBytes),
                       secondsText(time.seconds), basisName(time.basis), time.inHost ? ", from the host's memory" : "");
  return fmt::format("{} stores {} of FP16's bytes (counted) and takes {} its time here ({}{}).", name,
                     ratioText(bytesRatio), timesText(timeRatio), basisName(timeRatioBasis),
                     time.inHost ? ", from the host's memory" : "");
}

std::string policyName(const std::string &policy) {
  const SeriesOf parts = seriesOf(policy);
  std::string text = methodTitle(policy.substr(0, policy.find(':')));
  if (!parts.bits.empty()) text += fmt::format(" {} bits", parts.bits);
  if (!parts.settings.empty()) text += fmt::format(" ({})", parts.settings);
  return text;
}

std::vector<std::string> verdictSentences(const Verdict &verdict, const Hardware &hardware) {
  std::vector<std::string> sentences = {bytesSentence(verdict),         qualitySentence(verdict), timeSentence(verdict),
                                        fitSentence(verdict, hardware), rebuildSentence(verdict), hiddenSentence(verdict),
                                        checkSentence(verdict.check)};
  std::erase_if(sentences, [](const std::string &s) { return s.empty(); });
  return sentences;
}

std::string hardwareSentence(const Hardware &h) {
  std::string text = fmt::format("{}: {} of memory, {:.4g} TFLOP/s, ridge point {:.3g} FLOP a byte",
                                 h.measured ? fmt::format("The profiled machine ({}), measured", h.device) : h.name,
                                 rateText(h.memoryRate), 1e-12 * h.matrixRate, h.ridge());
  text += h.memory > 0 ? fmt::format(", {}", bytesText(h.memory)) : ", size of its memory not known";
  if (h.linkRate > 0) text += fmt::format(", {} from the host", rateText(h.linkRate));
  text += fmt::format(" ({}).", h.source);
  if (!h.measured)
    text += fmt::format(" Predictions take {:.0f} % of the memory's rate, {:.0f} % of the FLOPs and {:.0f} % of the link.",
                        100 * h.reachedMemoryRate() / h.memoryRate, 100 * h.reachedMatrixRate() / h.matrixRate,
                        100 * h.reachedLinkRate() / h.linkRate);
  return text;
}

std::string contextSentence(const ModelSize &model, const Hardware &hardware) {
  std::vector<int> bits;
  std::vector<std::string> printed, both;
  for (const ContextLimit &limit : contextLimits(model, hardware))
    bits.push_back(limit.bits), printed.push_back(tokensText(limit.printed)), both.push_back(tokensText(limit.bothLatents));
  std::string text = fmt::format("Longest context before rebuilding costs time, where it hides under the loading of weights "
                                 "(arXiv 2508.10395 sec. 3.4): {} tokens at {} bits",
                                 fmt::join(printed, ", "), fmt::join(bits, ", "));
  if (!model.mha())
    text += fmt::format(" by the paper's line for GQA, which counts the bytes of one of the two latents; {} with both",
                        fmt::join(both, ", "));
  return text + ". Both rates at their peaks, K and V rebuilt.";
}

std::string tokensText(double tokens) {
  if (std::isinf(tokens)) return "any number of";
  return tokens < 1000 ? fmt::format("{:.0f}", tokens) : fmt::format("{:.1f}k", tokens / 1000);
}

std::string bytesText(double bytes) {
  constexpr const char *kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; bytes >= 1023.5 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1024;
  return fmt::format("{:.{}f} {}", bytes, unit == 0 || bytes >= 99.5 ? 0 : bytes >= 9.95 ? 1 : 2, kUnits[unit]);
}

std::string secondsText(double seconds) {
  if (std::isnan(seconds)) return "an unknown time";
  return seconds < 1 ? fmt::format("{:.3g} ms", 1e3 * seconds) : fmt::format("{:.3g} s", seconds);
}

std::string ratioText(double ratio) {
  if (std::isnan(ratio)) return "unknown";
  return ratio < 0.095 ? fmt::format("{:.2g}", ratio) : fmt::format("{:.{}f}", ratio, ratio < 9.95 ? 2 : 0);
}

} // namespace xqs
