// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "views/view.h"

#include "analysis/verdict.h"

namespace xqs {

/// Which machine, model and point a verdict is about: what is selected, else what fits the runs. In one place, so that
/// verdict and roofline speak of the same. Machines are the presets and, where a profile has measured its peaks, that
/// machine; models are those of the runs and the built-in shapes.
class JudgeLookup {
public:
  struct Machine {
    QString id, title;
    Hardware hardware;
  };
  explicit JudgeLookup(const ViewContext &context);

  const std::vector<Machine> &machines() const { return m_machines; }
  const std::vector<ModelSize> &models() const { return m_models; }
  const Machine &machine() const { return m_machines[m_machine]; } ///< chosen
  const ModelSize &model() const { return m_models[m_model]; }     ///< chosen
  ProfilePoint point() const { return m_point; }
  /// The profile whose measurements count: null where another machine or model is chosen.
  const RunData::Run *measuredRun() const;
  /// Of what is chosen: the profile's policies, else the usual ones, and the selected one.
  Judge judge() const;

private:
  void findMachines();
  void findModels();
  void findPoint();
  std::vector<std::string> policies() const;

  ViewContext m_context;
  const RunData::Run *m_profile; ///< shown; null: none
  std::vector<Machine> m_machines;
  std::vector<ModelSize> m_models;
  std::size_t m_machine = 0, m_model = 0;
  ProfilePoint m_point;
};

/// The rows of a run that core/analysis asks for.
RunRows rowsOf(const RunData::Run &run);
/// "measured", "counted", ... for people.
QString basisTitle(Basis basis);

} // namespace xqs
