// SPDX-License-Identifier: Apache-2.0
#include "run/session.h"

#include "cache/layer_plan.h"
#include "engine/evaluate.h"
#include "error.h"
#include "model/sha256.h"
#include "run/machine.h"

#include <fmt/format.h>

#include <unordered_set>

namespace xqs {

namespace {

constexpr std::size_t kKeptMethods = 64;
constexpr double kLoadingStep = 0.02;
constexpr double kModelShare = 0.95; // of the loading bar; the rest is the text

std::unique_ptr<Model> loadModel(const SessionOptions &options, Backend &backend, const Session::Progress &progress,
                                 std::stop_token stop) {
  const auto report = [&](double fraction, const std::string &text) {
    if (progress) progress(fraction * kModelShare, text);
  };
  report(0, "opening the model");
  const auto reader = openModel(resolveModel(options.model));
  const std::string text = "loading " + reader->config().name;
  double reported = 0; // in steps a person can see
  const auto weightsRead = [&](double fraction) {
    if (fraction < reported + kLoadingStep) return;
    reported = fraction;
    report(fraction, text);
  };
  return Model::load(*reader, backend, weightsRead, std::move(stop));
}

} // namespace

Session::Session(const SessionOptions &options, std::span<const BackendInfo> backends, const Progress &progress,
                 std::stop_token stop)
    : m_options(options), m_backend(createBackend(backends, options.backend, options.threads)),
      m_model(loadModel(options, *m_backend, progress, stop)), m_calibration(*m_model, Calibration::defaultFolder()) {
  if (progress) progress(kModelShare, "reading the text");
  m_options.text.clear();
  setText(options.text);
  m_options.calibration.text.clear();
  setCalibration(options.calibration);
  if (progress) progress(1, "ready");
}

int Session::threads() const { return m_options.threads > 0 ? m_options.threads : coreCount(); }

void Session::setText(const std::string &location) {
  if (location == m_options.text) return;
  TextSource text = loadText(location);
  m_tokens = m_model->tokenizer().encode(text.bytes);
  m_tokensHash = sha256Hex(std::as_bytes(std::span(m_tokens)));
  m_text = std::move(text);
  m_options.text = location;
}

void Session::setCalibration(const CalibrationSource &source) {
  if (source == m_options.calibration) return;
  TextSource text = loadText(source.text);
  std::vector<TokenId> all = m_model->tokenizer().encode(text.bytes);
  // A short model or text is calibrated on what there is.
  const Index window = std::min({source.window, m_model->config().contextLength, static_cast<Index>(all.size())});
  const Index fit = static_cast<Index>(all.size()) / window, first = source.firstWindow;
  const Index count = source.windows > 0 ? source.windows : fit - first;
  if (count < 1 || first + count > fit)
    throw Error(
        Code::TextTooShort,
        fmt::format("calibration text '{}' has {} whole windows of {} tokens; windows {} to {} were asked for: give a "
                    "longer text or fewer windows",
                    text.name, fit, window, first, first + std::max<Index>(count, 1) - 1));
  m_calibrationTokens.assign(all.begin() + first * window, all.begin() + (first + count) * window);
  m_calibrationHash = sha256Hex(std::as_bytes(std::span(m_calibrationTokens)));
  m_calibrationText = std::move(text);
  m_calibrationWindows = count;
  m_options.calibration = source;
  m_calibration.setMeasure(m_calibrationHash.substr(0, 12) + std::to_string(window), [this, window](std::stop_token stop) {
    return measureActivations(*m_model, m_calibrationTokens, window, std::move(stop));
  });
  m_methods.clear(); // they may be conditioned by another text
  m_methodOrder.clear();
}

void Session::refuseOverlap(const PolicySpec &policy, Index window, Index first, Index count) const {
  constexpr std::size_t kSame = 32; // tokens in a row that two texts do not share by chance
  const auto scored = tokens().subspan(static_cast<std::size_t>(window * first), static_cast<std::size_t>(window * count));
  const auto hashOf = [](std::span<const TokenId> t) {
    return std::hash<std::string_view>{}({reinterpret_cast<const char *>(t.data()), t.size_bytes()});
  };
  std::unordered_set<std::size_t> seen;
  for (std::size_t i = 0; i + kSame <= scored.size(); ++i) seen.insert(hashOf(scored.subspan(i, kSame)));
  for (std::size_t i = 0; i + kSame <= m_calibrationTokens.size(); ++i)
    if (seen.contains(hashOf(std::span(m_calibrationTokens).subspan(i, kSame))))
      throw Error(Code::Usage,
                  fmt::format("policy '{}' would be calibrated on tokens that are scored ('{}' from token {} on); choose "
                              "another calibration text, or windows that are not scored",
                              policy.canonical(), m_calibrationText.name, i));
}

Index Session::planWindows(Index window, Index first, Index count) const {
  const Index context = m_model->config().contextLength;
  if (window < 2) throw Error(Code::Usage, fmt::format("a window has at least 2 tokens, not {}", window));
  if (window > context)
    throw Error(
        Code::Usage,
        fmt::format("a window of {} tokens is longer than the {} tokens that {} was trained for; choose a shorter one",
                    window, context, m_model->config().name));
  const Index fit = windowsOf(window);
  const Index need = first + std::max<Index>(count, 1);
  if (need > fit)
    throw Error(
        Code::TextTooShort,
        fmt::format("text '{}' has {} tokens, {} whole windows of {}; windows up to number {} need {} tokens: give a "
                    "longer text, a shorter window or fewer windows",
                    m_text.name, m_tokens.size(), fit, window, need, need * window));
  return count > 0 ? count : fit - first;
}

std::span<const TokenId> Session::windowTokens(Index window, Index index) const {
  return tokens().subspan(static_cast<std::size_t>(window * index), static_cast<std::size_t>(window));
}

std::shared_ptr<const Method> Session::method(const PolicySpec &spec, std::stop_token stop) {
  if (const auto known = m_methods.find(spec.canonical()); known != m_methods.end()) return known->second;
  m_calibration.setStop(std::move(stop));
  std::shared_ptr<const Method> method = prepareMethod(spec, *m_model, m_calibration);
  m_calibration.setStop({});
  if (m_methodOrder.size() == kKeptMethods) { // those in use live on with their users
    m_methods.erase(m_methodOrder.front());
    m_methodOrder.pop_front();
  }
  m_methods.emplace(spec.canonical(), method);
  m_methodOrder.push_back(spec.canonical());
  return method;
}

} // namespace xqs
