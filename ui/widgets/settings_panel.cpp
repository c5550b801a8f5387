// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/settings_panel.h"

#include "cache/layout.h"
#include "models/workspace.h"
#include "run/experiment.h"
#include "theme.h"
#include "widgets/experiment_editor.h"
#include "widgets/ledger_panel.h"
#include "widgets/policy_editor.h"

#include <QLabel>
#include <QPushButton>
#include <QScrollArea>
#include <QScrollBar>
#include <QTabWidget>
#include <QVBoxLayout>

namespace xqs {

constexpr int kPreviewDelayMs = 30;

SettingsPanel::SettingsPanel(QWidget *parent)
    : QWidget(parent), m_policy(new PolicyEditor(this)), m_ledger(new LedgerPanel(this)),
      m_experiment(new ExperimentEditor(this)), m_add(new QPushButton(tr("&Add to experiment"), this)) {
  m_add->setObjectName(QStringLiteral("addToExperiment"));
  m_add->setToolTip(tr("The next run measures this setting too"));
  m_layers = new QPushButton(tr("Edit the &layers…"), this);
  m_layers->setObjectName(QStringLiteral("editLayers"));
  m_layers->setToolTip(tr("The plan as a table with a row a layer, beside the sensitivity of each"));
  m_layers->hide();
  m_preview.setSingleShot(true);
  m_preview.setInterval(kPreviewDelayMs);
  setUpLayout();
  connectParts();
}

SettingsPanel::~SettingsPanel() = default;

QWidget *SettingsPanel::section(const QString &title, QWidget *content) {
  auto *box = new QWidget(this);
  auto *heading = new QLabel(title, box);
  QFont font = heading->font();
  font.setBold(true);
  heading->setFont(font);
  auto *column = new QVBoxLayout(box);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(4);
  column->addWidget(heading);
  column->addWidget(content, 1);
  return box;
}

QWidget *SettingsPanel::scrolled(std::initializer_list<QWidget *> parts) {
  auto *content = new QWidget(this);
  auto *column = new QVBoxLayout(content);
  column->setContentsMargins(10, 10, 10, 10);
  column->setSpacing(12);
  for (QWidget *part : parts) column->addWidget(part);
  column->addStretch();
  auto *scroll = new QScrollArea(this);
  scroll->setFrameShape(QFrame::NoFrame);
  scroll->setWidgetResizable(true);
  scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  scroll->setFocusPolicy(Qt::NoFocus);
  scroll->setWidget(content);
  scroll->setMinimumWidth(content->minimumSizeHint().width() + scroll->verticalScrollBar()->sizeHint().width());
  return scroll;
}

void SettingsPanel::setUpLayout() {
  m_tabs = new QTabWidget(this);
  m_tabs->setDocumentMode(true);
  m_tabs->addTab(scrolled({m_policy, m_layers, section(tr("Size before any run"), m_ledger), m_add}), tr("S&etting"));
  m_tabs->setTabToolTip(0, tr("One setting: what it costs, and an instant preview of what it does"));
  m_tabs->addTab(scrolled({m_experiment}), {});
  m_tabs->setTabToolTip(1, tr("What the next run measures"));
  auto *outer = new QVBoxLayout(this);
  outer->setContentsMargins(0, 0, 0, 0);
  outer->addWidget(m_tabs);
  showCount();
}

void SettingsPanel::showCount() { m_tabs->setTabText(1, tr("E&xperiment (%1)").arg(m_experiment->policies().size())); }

void SettingsPanel::connectParts() {
  connect(m_layers, &QPushButton::clicked, this, [this] { Q_EMIT planActivated(m_policy->text()); });
  connect(m_policy, &PolicyEditor::policyChanged, this, [this] {
    m_layers->setVisible(!m_policy->policy().entries().empty());
    showSizes();
    if (m_policy->problem().isEmpty()) m_preview.start();
  });
  connect(&m_preview, &QTimer::timeout, this, [this] { Q_EMIT previewWanted(m_policy->text()); });
  connect(m_add, &QPushButton::clicked, this, [this] { m_experiment->addPolicy(m_policy->text()); });
  connect(m_experiment, &ExperimentEditor::windowChanged, this, &SettingsPanel::showSizes);
  connect(&Theme::current(), &Theme::changed, this, &SettingsPanel::showSizes); // the bar has its method's colour
  connect(m_experiment, &ExperimentEditor::policiesChanged, this, &SettingsPanel::showCount);
  connect(m_experiment, &ExperimentEditor::policyActivated, this, [this](const QString &policy) {
    m_policy->setPolicy(policy);
    m_tabs->setCurrentIndex(0);
  });
}

void SettingsPanel::takeShape(const Workspace &workspace) {
  const auto shape = workspace.shape();
  m_shape = shape ? std::make_unique<ModelShape>(*shape) : nullptr;
  m_model = workspace.shapeName();
  if (const auto &model = workspace.engine().model()) m_experiment->setLimits(model->tokens, model->context);
  showSizes();
}

void SettingsPanel::startOn(Workspace &workspace) const { workspace.run(m_experiment->experiment()); }

void SettingsPanel::setRunning(bool running) { m_experiment->setSourcesEnabled(!running); }

void SettingsPanel::showSizes() {
  if (!m_shape) return;
  const QString problem =
      m_ledger->showPolicy(m_policy->policy(), *m_shape, m_model, m_experiment->window(), m_experiment->state());
  m_policy->setProblem(problem);
  m_add->setEnabled(problem.isEmpty());
}

} // namespace xqs
