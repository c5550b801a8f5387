// SPDX-License-Identifier: GPL-3.0-or-later
// The plan editor, the study builder and the profile dialog: windows of their own beside the main one.
#include "main_window.h"

#include "views/sensitivity_view.h"
#include "widgets/experiment_editor.h"
#include "widgets/message_bar.h"
#include "widgets/plan_editor.h"
#include "widgets/profile_dialog.h"
#include "widgets/settings_panel.h"
#include "widgets/study_builder.h"

#include <QAction>

namespace xqs {

namespace {

const QString kSensitivity = QStringLiteral("sensitivity"); ///< the view and the built-in study

void bringUp(QDialog &dialog) {
  dialog.show();
  dialog.raise();
  dialog.activateWindow();
}

} // namespace

void MainWindow::setUpTools() {
  m_openPlan = new QAction(tr("P&lan…"), this);
  m_openPlan->setObjectName(QStringLiteral("openPlan"));
  m_openPlan->setShortcut(Qt::CTRL | Qt::Key_L);
  m_openPlan->setToolTip(tr("A setting for each layer (%1)").arg(m_openPlan->shortcut().toString()));
  m_openStudy = new QAction(tr("S&tudy…"), this);
  m_openStudy->setObjectName(QStringLiteral("openStudy"));
  m_openStudy->setShortcut(Qt::CTRL | Qt::Key_U);
  m_openStudy->setToolTip(
      tr("Many settings at once, with their time, resumable (%1)").arg(m_openStudy->shortcut().toString()));
  m_openProfile = new QAction(tr("P&rofile decoding…"), this);
  m_openProfile->setObjectName(QStringLiteral("openProfile"));
  m_openProfile->setShortcut(Qt::CTRL | Qt::SHIFT | Qt::Key_P);
  m_openProfile->setToolTip(tr("Where time and bytes of decoding go (%1)").arg(m_openProfile->shortcut().toString()));
  connect(m_openProfile, &QAction::triggered, this, [this] { bringUp(profileDialog()); });
  connect(m_openPlan, &QAction::triggered, this, [this] { openPlan({}); });
  connect(m_openStudy, &QAction::triggered, this, [this] { openStudy({}); });
  connect(m_settings, &SettingsPanel::planActivated, this, &MainWindow::openPlan);
  if (auto *view = qobject_cast<SensitivityView *>(this->view(kSensitivity))) {
    connect(view, &SensitivityView::studyWanted, this, [this] { openStudy(kSensitivity); });
    connect(view, &SensitivityView::cellChosen, this, [this](const LayerChoice &choice) {
      if (m_plan && m_plan->isVisible()) m_plan->choose(choice); // else a click only chooses the layer
    });
  }
}

PlanEditor &MainWindow::planEditor() {
  if (m_plan) return *m_plan;
  auto *sensitivity = new SensitivityView({&m_workspace->data(), &m_workspace->selection()}, this);
  m_plan = new PlanEditor(sensitivity, this);
  connect(sensitivity, &SensitivityView::cellChosen, m_plan, &PlanEditor::choose);
  connect(sensitivity, &SensitivityView::studyWanted, this, [this] { openStudy(kSensitivity); });
  ExperimentEditor *experiment = &m_settings->experiment();
  const auto takeShape = [this, experiment] { m_plan->takeShape(*m_workspace, experiment->window(), experiment->state()); };
  connect(m_workspace.get(), &Workspace::shapeChanged, m_plan, takeShape);
  connect(experiment, &ExperimentEditor::windowChanged, m_plan, takeShape);
  connect(m_plan, &PlanEditor::previewWanted, &m_workspace->engine(), &EngineClient::preview);
  connect(m_plan, &PlanEditor::addWanted, this, [this, experiment](const QString &plan) {
    experiment->addPolicy(plan);
    m_messages->showMessage(
        Workspace::Severity::Info,
        tr("The plan is in the experiment: the next run measures %1 settings.").arg(experiment->policies().size()));
  });
  takeShape();
  return *m_plan;
}

StudyBuilder &MainWindow::studyBuilder() {
  if (m_studies) return *m_studies;
  m_studies = new StudyBuilder(*m_workspace, this);
  ExperimentEditor *experiment = &m_settings->experiment();
  const auto takeSources = [this, experiment] { m_studies->setSources(experiment->model(), experiment->text()); };
  connect(experiment, &ExperimentEditor::sourceChanged, m_studies, takeSources);
  takeSources();
  return *m_studies;
}

ProfileDialog &MainWindow::profileDialog() {
  if (m_profile) return *m_profile;
  m_profile = new ProfileDialog(*m_workspace, this);
  ExperimentEditor *experiment = &m_settings->experiment();
  const auto takePolicies = [this, experiment] { m_profile->setExperiment(experiment->policies()); };
  connect(experiment, &ExperimentEditor::policiesChanged, m_profile, takePolicies);
  connect(m_profile, &ProfileDialog::started, this, [this] { showView(QStringLiteral("timeline")); });
  takePolicies();
  return *m_profile;
}

void MainWindow::openPlan(const QString &policy) {
  if (!policy.isEmpty()) planEditor().setPlan(policy);
  bringUp(planEditor());
}

void MainWindow::openStudy(const QString &builtIn) {
  if (!builtIn.isEmpty()) studyBuilder().chooseBuiltIn(builtIn);
  bringUp(studyBuilder());
}

} // namespace xqs
