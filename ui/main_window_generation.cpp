// SPDX-License-Identifier: GPL-3.0-or-later
// The generation tab's part of the window: its form, and what the engine can do for it.
#include "main_window.h"

#include "views/generation_view.h"
#include "widgets/experiment_editor.h"
#include "widgets/generation_form.h"
#include "widgets/policy_editor.h"
#include "widgets/settings_panel.h"

#include <QVBoxLayout>

namespace xqs {

QWidget *MainWindow::generationPage(View *view) {
  auto *page = new QWidget(m_tabs);
  m_generation = new GenerationForm(page);
  auto *column = new QVBoxLayout(page);
  column->setContentsMargins(6, 6, 6, 0);
  column->setSpacing(0);
  column->addWidget(m_generation);
  column->addWidget(view, 1);
  view->layout()->setContentsMargins(0, 6, 0, 6);
  return page;
}

void MainWindow::setUpGeneration() {
  EngineClient *engine = &m_workspace->engine();
  connect(m_generation, &GenerationForm::generateWanted, this, &MainWindow::startGeneration);
  connect(m_generation, &GenerationForm::stopWanted, engine, &EngineClient::cancel);
  auto *view = qobject_cast<GenerationView *>(this->view(QStringLiteral("generation")));
  connect(view, &GenerationView::requestWanted, m_generation, &GenerationForm::setSpec);
  const auto suggest = [this] {
    QStringList policies = m_settings->experiment().policies();
    policies.prepend(m_settings->policy().text());
    policies.removeDuplicates();
    m_generation->setSuggestions(policies);
  };
  connect(&m_settings->policy(), &PolicyEditor::policyChanged, this, suggest);
  connect(&m_settings->experiment(), &ExperimentEditor::policiesChanged, this, suggest);
  suggest();
}

void MainWindow::startGeneration() {
  if (!m_generation->problem().isEmpty()) return;
  showView(QStringLiteral("generation"));
  if (m_generation->samplesTraffic()) raiseDock(QStringLiteral("throughput"));
  m_generating = true;
  m_generation->generateOn(*m_workspace);
}

void MainWindow::showGenerationState() {
  using Engine = EngineClient::State;
  const EngineClient &engine = m_workspace->engine();
  m_generating = m_generating && engine.isRunning();
  QString obstacle;
  switch (engine.state()) {
  case Engine::Ready: break;
  case Engine::Running:
  case Engine::Paused:
  case Engine::Cancelling: obstacle = tr("A run is in progress."); break;
  case Engine::Starting:
  case Engine::Loading: obstacle = tr("The model is being loaded."); break;
  case Engine::Waiting: obstacle = tr("No model is open: choose one with File > Open model."); break;
  case Engine::Stopped:
    obstacle = tr("No engine is running: File > Open model starts one. Recorded generations can be viewed.");
    break;
  }
  m_generation->setEngine(obstacle, m_generating);
}

} // namespace xqs
