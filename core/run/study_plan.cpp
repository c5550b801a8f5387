// SPDX-License-Identifier: Apache-2.0
#include "run/study_plan.h"

#include "run/inputs.h"
#include "run/runner.h"

#include <fmt/format.h>

#include <chrono>
#include <map>
#include <memory>

namespace xqs {

namespace {

namespace fs = std::filesystem;

/// An opened model with the tokens that its runs have asked for last.
struct OpenedModel {
  explicit OpenedModel(const std::string &location)
      : reader(openModel(resolveModel(location))), tokenizer(reader->tokenizer()), inputs(reader->config(), *tokenizer) {}
  void use(const std::string &newText, const CalibrationSource &newCalibration) {
    if (newText != text) inputs.setText(newText);
    if (newCalibration != calibration) inputs.setCalibration(newCalibration);
    text = newText, calibration = newCalibration;
  }
  std::unique_ptr<ModelReader> reader;
  std::shared_ptr<const Tokenizer> tokenizer;
  RunInputs inputs;
  std::string text;
  CalibrationSource calibration{"", 0, 0, 0};
};

class Planner {
public:
  Planner(const Study &study, const StudyPart &part)
      : m_study(study), m_part(part), m_store(openIfWritten(part.store)), m_known(openIfWritten(part.known)) {}

  std::vector<PlannedRun> plan() {
    std::vector<PlannedRun> runs;
    for (Experiment &experiment :
         m_study.expand([this](const std::string &model) { return open(model).reader->config().shape; }))
      runs.push_back(planRun(std::move(experiment)));
    return runs;
  }

private:
  OpenedModel &open(const std::string &location) {
    std::unique_ptr<OpenedModel> &model = m_models[location];
    if (!model) model = std::make_unique<OpenedModel>(location);
    return *model;
  }

  PlannedRun planRun(Experiment experiment) {
    PlannedRun run;
    OpenedModel &model = open(experiment.model);
    const ModelConfig &config = model.reader->config();
    run.modelName = config.name, run.modelHash = model.reader->hash(), run.shape = config.shape;
    run.parameters = parameterCount(config);
    const std::vector<std::size_t> mine = share(experiment.policies.size());
    run.experiment = std::move(experiment);
    if (run.experiment.backend == kAutoBackend) run.experiment.backend = m_part.autoBackend;
    run.textName = run.experiment.text;
    try {
      model.use(run.experiment.text, run.experiment.calibration);
      run.windows = model.inputs.planWindows(run.experiment.window, run.experiment.firstWindow, run.experiment.windows);
    } catch (const Error &error) {
      if (error.code() != Code::TextTooShort && error.code() != Code::Usage) throw;
      run.error = error;
      return run;
    }
    run.textName = model.inputs.text().name;
    run.key = studyKey(run.experiment, run.modelHash, model.inputs.tokensHash(), model.inputs.calibrationHash());
    const auto refuseMisfit = model.inputs.misfitCheck(run.experiment.window, run.experiment.firstWindow, run.windows);
    run.part = partOf(run.experiment, refuseMisfit, mine, stored(run.key));
    run.work = missingWork(run.experiment, run.windows, run.part, run.experiment.captures);
    return run;
  }

  /// This process's places among the next `count` policies of the study.
  std::vector<std::size_t> share(std::size_t count) {
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < count; ++i, ++m_listed)
      if (m_listed % static_cast<std::size_t>(m_part.shards) == static_cast<std::size_t>(m_part.shard - 1))
        places.push_back(i);
    return places;
  }

  StoredRun stored(const std::string &key) {
    StoredRun run;
    if (m_store) run = storedRun(*m_store, m_study.name(), key);
    if (m_known) run.alsoHas(storedRun(*m_known, m_study.name(), key));
    return run;
  }

  const Study &m_study;
  const StudyPart &m_part;
  std::optional<RunReader> m_store, m_known;
  std::map<std::string, std::unique_ptr<OpenedModel>> m_models;
  std::size_t m_listed = 0;
};

} // namespace

Index parameterCount(const ModelConfig &c) {
  const ModelShape &s = c.shape;
  const Index layer = 2 * s.d + 2 * s.heads * s.dh * s.d + 2 * s.dkv() * s.d + 3 * c.ffn * s.d;
  return s.layers * layer + s.d + (c.tiedOutput ? 1 : 2) * c.vocab * s.d;
}

Index PlannedRun::missing() const {
  Index sum = 0;
  for (const WindowWork &one : work) sum += std::ssize(one.score);
  return sum;
}

Index PlannedRun::units() const {
  Index sum = 0;
  for (const WindowWork &window : work) sum += window.units();
  return sum;
}

double PlannedRun::workFlops() const {
  const auto tokens = static_cast<double>(experiment.window);
  const double weights = 2 * static_cast<double>(parameters) * tokens;
  // Scores and their sum over V: 4 l d a query over half of the tokens on average.
  const double attention = 2 * static_cast<double>(shape.layers * shape.heads * shape.dh) * tokens * tokens;
  return static_cast<double>(units()) * (weights + attention);
}

std::vector<PlannedRun> planStudy(const Study &study, const StudyPart &part) { return Planner(study, part).plan(); }

} // namespace xqs
