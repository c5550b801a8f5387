// SPDX-License-Identifier: Apache-2.0
#include "run/session.h"

#include "engine/evaluate.h"
#include "error.h"
#include "run/machine.h"
#include "run/memory_fit.h"

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
  requireWeights(reader->config(), backend.weightType(), backend.freeBytes());
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
    : m_options(options), m_backend([&] {
        ChosenBackend chosen = openBackend(backends, options.backend, options.threads);
        m_options.backend = std::move(chosen.name), m_backendNote = std::move(chosen.note);
        return std::move(chosen.backend);
      }()),
      m_model(loadModel(options, *m_backend, progress, stop)), m_inputs(m_model->config(), m_model->tokenizer()),
      m_calibration(*m_model, Calibration::defaultFolder()) {
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
  m_inputs.setText(location);
  m_options.text = location;
}

void Session::setCalibration(const CalibrationSource &source) {
  if (source == m_options.calibration) return;
  m_inputs.setCalibration(source);
  m_options.calibration = source;
  m_calibration.setMeasure(
      m_inputs.calibrationHash().substr(0, 12) + std::to_string(m_inputs.calibrationWindow()), [this](std::stop_token stop) {
        return measureActivations(*m_model, m_inputs.calibrationTokens(), m_inputs.calibrationWindow(), std::move(stop));
      });
  dropMethods(); // they may be conditioned by another text
}

void Session::dropMethods() {
  m_methods.clear();
  m_methodOrder.clear();
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
