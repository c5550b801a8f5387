// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "views/view.h"

#include "analysis/verdict.h"

class QComboBox;

namespace xqs {

/// Which machine, model and point a verdict is about: four boxes. Machines are the presets and, where a profile has measured
/// its peaks, that machine; models are those of the runs and the built-in shapes. Context and batch are the shared point.
class JudgeBar : public QWidget {
  Q_OBJECT
public:
  JudgeBar(const ViewContext &context, QWidget *parent = nullptr);
  /// Lists what there is now; what was chosen stays chosen.
  void refresh();
  /// Of what is chosen: the profile's policies, else the usual ones, and the selected one.
  Judge judge() const;
  ProfilePoint point() const; ///< chosen
  /// The profile whose measurements count: null where another machine or model is chosen.
  const RunData::Run *measuredRun() const;

Q_SIGNALS:
  void changed();

private:
  void fillMachines();
  void fillModels();
  void fillPoint();
  const ModelSize &model() const;
  std::vector<std::string> policies() const;

  ViewContext m_context;
  QComboBox *m_machine = nullptr, *m_model = nullptr, *m_tokens = nullptr, *m_batch = nullptr;
  QString m_chosenMachine, m_chosenModel; ///< by the user; empty: what fits the runs
  std::vector<ModelSize> m_models;
  std::vector<PublishedRow> m_published;
};

/// The rows of a run that core/analysis asks for.
RunRows rowsOf(const RunData::Run &run);
/// "measured", "counted", ... for people.
QString basisTitle(Basis basis);

} // namespace xqs
