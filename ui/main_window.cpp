// SPDX-License-Identifier: GPL-3.0-or-later
#include "main_window.h"

#include "theme.h"
#include "views/log_view.h"
#include "views/view.h"
#include "widgets/engine_status.h"
#include "widgets/experiment_editor.h"
#include "widgets/instrument_badge.h"
#include "widgets/message_bar.h"
#include "widgets/policy_editor.h"
#include "widgets/policy_table_panel.h"
#include "widgets/run_list_panel.h"
#include "widgets/settings_panel.h"

#include <QActionGroup>
#include <QCloseEvent>
#include <QCoreApplication>
#include <QDialog>
#include <QDockWidget>
#include <QFileInfo>
#include <QMenuBar>
#include <QMessageBox>
#include <QSettings>
#include <QStatusBar>
#include <QTabWidget>
#include <QToolBar>
#include <QToolButton>
#include <QVBoxLayout>

#include <algorithm>
#include <utility>

namespace xqs {

namespace {

constexpr int kStateVersion = 2; ///< of the saved dock layout
QString stateKey(std::size_t tab) {
  return tab == 0 ? QStringLiteral("window/state") : QStringLiteral("window/state-%1").arg(tab);
}
constexpr QSize kSmallestView(240, 150);

QString viewTitle(const ViewInfo &info) { return QCoreApplication::translate("Views", info.title); }

/// The tabs of the centre, by the view in each, and which of them a dock stands around at first.
constexpr const char *kTabs[] = {"curve", "generation", "timeline", "verdict"};
enum Around : unsigned { Curve = 1, Generation = 2, Profile = 4, Verdict = 8 };

/// Where a dock stands at first. A view that is not listed joins the tabs of the distributions.
struct Place {
  const char *id;
  Qt::DockWidgetArea area;
  const char *tabOf; ///< null: its own place
  unsigned around = Curve;
};
constexpr Place kPlaces[] = {
    {"settings", Qt::LeftDockWidgetArea, nullptr, Curve | Generation}, // text side by side needs the width
    {"similarity", Qt::RightDockWidgetArea, nullptr},
    {"distribution", Qt::RightDockWidgetArea, nullptr},
    {"layer-error", Qt::RightDockWidgetArea, "similarity"},
    {"sensitivity", Qt::RightDockWidgetArea, "similarity"},
    {"policies", Qt::BottomDockWidgetArea, nullptr},
    {"runs", Qt::BottomDockWidgetArea, "policies"},
    {"log", Qt::BottomDockWidgetArea, "policies"},
    {"traffic", Qt::BottomDockWidgetArea, nullptr, Profile},
    {"throughput", Qt::BottomDockWidgetArea, nullptr, Profile},
    {"roofline", Qt::RightDockWidgetArea, nullptr, Verdict},
};

unsigned aroundOf(const QDockWidget &dock) {
  for (const Place &place : kPlaces)
    if (dock.objectName() == QLatin1String("dock-") + QLatin1String(place.id)) return place.around;
  return Curve;
}

} // namespace

MainWindow::MainWindow(const WindowOptions &options, QWidget *parent)
    : QMainWindow(parent), m_workspace(std::make_unique<Workspace>()), m_remember(options.remember) {
  setObjectName(QStringLiteral("mainWindow"));
  setDockNestingEnabled(true);
  setUpCentre();
  setUpPanels();
  setUpViews();
  placeDocks();
  setUpRunActions();
  setUpTools();
  setUpBackends();
  setUpFileMenu();
  setUpRunMenu();
  setUpViewMenu();
  setUpHelpMenu();
  setUpToolBar();
  setUpStatusBar();
  setUpTabs();
  connectWorkspace();
  setUpGeneration();
  restoreLayout();
  applyIcons();
  open(options);
  showState();
  showTitle();
}

MainWindow::~MainWindow() {
  // Views hold references into the workspace: they go first. What the workspace says while it ends is for nobody.
  m_workspace->data().disconnect();
  m_workspace->selection().disconnect();
  m_workspace->engine().disconnect(this);
  for (QDialog *dialog : findChildren<QDialog *>(QString(), Qt::FindDirectChildrenOnly)) delete dialog;
  m_tabs->disconnect(this);
  for (QDockWidget *dock : findChildren<QDockWidget *>()) delete dock;
  delete takeCentralWidget();
}

View *MainWindow::view(const QString &id) const {
  for (const OpenView &open : m_views)
    if (id == QLatin1String(open.info->id)) return open.view;
  return nullptr;
}

void MainWindow::setUpCentre() {
  auto *centre = new QWidget(this);
  auto *column = new QVBoxLayout(centre);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(0);
  m_messages = new MessageBar(centre);
  column->addWidget(m_messages);
  m_tabs = new QTabWidget(centre);
  m_tabs->setDocumentMode(true);
  column->addWidget(m_tabs);
  setCentralWidget(centre);
}

QDockWidget *MainWindow::addDock(const QString &id, const QString &title, QWidget *content) {
  auto *dock = new QDockWidget(title, this);
  dock->setObjectName(QStringLiteral("dock-") + id);
  dock->setWidget(content);
  return dock;
}

void MainWindow::showView(const QString &id) {
  for (int tab = 0; tab < m_tabs->count(); ++tab)
    if (m_tabs->widget(tab)->isAncestorOf(view(id)) || m_tabs->widget(tab) == view(id)) return m_tabs->setCurrentIndex(tab);
  raiseDock(id);
}

void MainWindow::raiseDock(const QString &id) {
  if (auto *dock = findChild<QDockWidget *>(QStringLiteral("dock-") + id)) {
    dock->show();
    dock->raise();
  }
}

void MainWindow::setUpPanels() {
  m_settings = new SettingsPanel(this);
  addDock(QStringLiteral("settings"), tr("Settings"), m_settings);
  m_policies = new PolicyTablePanel(m_workspace->data(), m_workspace->selection(), this);
  addDock(QStringLiteral("policies"), tr("Policies"), m_policies);
  auto *runs = new RunListPanel(m_workspace->data(), m_workspace->selection(), this);
  addDock(QStringLiteral("runs"), tr("Runs"), runs);
  connect(runs, &RunListPanel::runActivated, this, [this](const QString &kind) {
    showView(kind == QLatin1String("generate")  ? QStringLiteral("generation")
             : kind == QLatin1String("profile") ? QStringLiteral("timeline")
                                                : QStringLiteral("curve"));
  });
  connect(m_policies, &PolicyTablePanel::policyActivated, &m_settings->policy(), &PolicyEditor::setPolicy);
}

void MainWindow::setUpViews() {
  const ViewContext context{&m_workspace->data(), &m_workspace->selection()};
  for (const ViewInfo &info : viewRegistry()) {
    View *view = info.create(context, this);
    view->setObjectName(QLatin1String(info.id));
    view->setMinimumSize(kSmallestView); // whatever its labels say: the user decides how large a dock is
    if (view->accessibleName().isEmpty()) view->setAccessibleName(viewTitle(info));
    m_views.push_back({&info, view});
    const bool tab = std::ranges::any_of(kTabs, [&](const char *id) { return QLatin1String(id) == QLatin1String(info.id); });
    if (QLatin1String(info.id) == QLatin1String("generation"))
      m_tabs->addTab(generationPage(view), viewTitle(info));
    else if (tab)
      m_tabs->addTab(view, viewTitle(info));
    else
      addDock(QLatin1String(info.id), viewTitle(info), view);
  }
}

void MainWindow::placeDocks() {
  setCorner(Qt::BottomLeftCorner, Qt::LeftDockWidgetArea);
  setCorner(Qt::BottomRightCorner, Qt::RightDockWidgetArea);
  const auto docks = findChildren<QDockWidget *>(QString(), Qt::FindDirectChildrenOnly);
  const auto dockOf = [this](const char *id) {
    return findChild<QDockWidget *>(QStringLiteral("dock-") + QLatin1String(id));
  };
  for (const Place &place : kPlaces) {
    QDockWidget *dock = dockOf(place.id);
    if (!dock) continue;
    addDockWidget(place.area, dock);
    QDockWidget *other = place.tabOf ? dockOf(place.tabOf) : nullptr;
    if (other) tabifyDockWidget(other, dock);
  }
  for (QDockWidget *dock : docks) {
    if (dockWidgetArea(dock) != Qt::NoDockWidgetArea) continue;
    addDockWidget(Qt::RightDockWidgetArea, dock);
    if (QDockWidget *other = dockOf("distribution")) tabifyDockWidget(other, dock);
  }
  for (const char *front : {"similarity", "distribution", "policies"})
    if (QDockWidget *dock = dockOf(front)) dock->raise();
  resize(1280, 800);
  if (QDockWidget *left = dockOf("settings")) resizeDocks({left}, {300}, Qt::Horizontal);
  if (QDockWidget *right = dockOf("similarity")) resizeDocks({right}, {380}, Qt::Horizontal);
  if (QDockWidget *bottom = dockOf("policies")) resizeDocks({bottom}, {210}, Qt::Vertical);
}

void MainWindow::setUpTabs() {
  for (int tab = 0; tab < m_tabs->count(); ++tab) {
    for (QDockWidget *dock : findChildren<QDockWidget *>(QString(), Qt::FindDirectChildrenOnly))
      dock->setVisible(aroundOf(*dock) & 1U << tab);
    const auto resizeDock = [&](int around, const char *id, int size, Qt::Orientation orientation) {
      auto *dock = findChild<QDockWidget *>(QLatin1String(id));
      if (tab == around && dock) resizeDocks({dock}, {size}, orientation);
    };
    resizeDock(2, "dock-traffic", 390, Qt::Vertical);
    resizeDock(3, "dock-roofline", 480, Qt::Horizontal);
    m_defaultStates.push_back(saveState(kStateVersion));
  }
  restoreState(m_defaultStates.front(), kStateVersion);
  m_tabStates = m_defaultStates;
  connect(m_tabs, &QTabWidget::currentChanged, this, &MainWindow::tabChanged);
}

void MainWindow::tabChanged(int tab) {
  m_tabStates[static_cast<std::size_t>(std::exchange(m_tab, tab))] = saveState(kStateVersion);
  restoreState(m_tabStates[static_cast<std::size_t>(tab)], kStateVersion);
}

void MainWindow::setUpRunActions() {
  m_start = new QAction(tr("&Start"), this);
  m_start->setObjectName(QStringLiteral("start"));
  m_start->setShortcut(Qt::Key_F5);
  m_pause = new QAction(tr("&Pause"), this);
  m_pause->setObjectName(QStringLiteral("pause"));
  m_pause->setShortcut(Qt::Key_F6);
  m_cancel = new QAction(tr("&Cancel"), this);
  m_cancel->setObjectName(QStringLiteral("cancel"));
  m_cancel->setShortcut(Qt::SHIFT | Qt::Key_F5);
  m_cancel->setToolTip(tr("Ends the run; finished windows are kept (Shift+F5)"));
  EngineClient *engine = &m_workspace->engine();
  connect(m_start, &QAction::triggered, this, &MainWindow::startRun);
  connect(m_cancel, &QAction::triggered, engine, &EngineClient::cancel);
  connect(m_pause, &QAction::triggered, engine, [engine] {
    if (engine->state() == EngineClient::State::Paused)
      engine->resume();
    else
      engine->pause();
  });
}

void MainWindow::setUpRunMenu() {
  QMenu *menu = menuBar()->addMenu(tr("&Run"));
  menu->addActions({m_start, m_pause, m_cancel});
  menu->addSeparator();
  QAction *settings = menu->addAction(tr("&Edit setting"), this, [this] {
    raiseDock(QStringLiteral("settings"));
    m_settings->policy().setFocus();
  });
  settings->setShortcut(Qt::CTRL | Qt::Key_E);
  menu->addActions({m_openPlan, m_openStudy, m_openProfile});
  menu->addSeparator();
  menu->addMenu(m_backends);
}

void MainWindow::setUpViewMenu() {
  QMenu *menu = menuBar()->addMenu(tr("&View"));
  for (int tab = 0; tab < m_tabs->count(); ++tab)
    menu->addAction(m_tabs->tabText(tab), this, [this, tab] { m_tabs->setCurrentIndex(tab); })
        ->setShortcut(Qt::CTRL | static_cast<Qt::Key>(Qt::Key_1 + tab));
  menu->addSeparator();
  int number = 1;
  for (QDockWidget *dock : findChildren<QDockWidget *>(QString(), Qt::FindDirectChildrenOnly)) {
    menu->addAction(dock->toggleViewAction());
    if (number > 9) continue;
    auto *go = new QAction(dock);
    go->setShortcut(QKeySequence(Qt::ALT | static_cast<Qt::Key>(Qt::Key_0 + number++)));
    connect(go, &QAction::triggered, dock, [dock] {
      dock->show();
      dock->raise();
      dock->widget()->setFocus();
    });
    addAction(go);
    dock->setToolTip(go->shortcut().toString(QKeySequence::NativeText));
  }
  menu->addSeparator();
  QMenu *themes = menu->addMenu(tr("&Theme"));
  auto *group = new QActionGroup(themes);
  const std::pair<Theme::Mode, QString> modes[] = {
      {Theme::Mode::System, tr("&System")}, {Theme::Mode::Light, tr("&Light")}, {Theme::Mode::Dark, tr("&Dark")}};
  for (const auto &[mode, title] : modes) {
    QAction *action = themes->addAction(title, this, [mode = mode] { Theme::current().apply(mode); });
    action->setCheckable(true);
    action->setChecked(Theme::current().mode() == mode);
    group->addAction(action);
  }
  menu->addAction(tr("&Reset layout"), this, [this] {
    m_tabStates = m_defaultStates;
    restoreState(m_tabStates[static_cast<std::size_t>(m_tab)], kStateVersion);
  });
}

void MainWindow::setUpHelpMenu() {
  QMenu *menu = menuBar()->addMenu(tr("&Help"));
  menu->addAction(tr("&About XQScope"), this, &MainWindow::about);
}

void MainWindow::setUpToolBar() {
  QToolBar *bar = addToolBar(tr("Main tools"));
  bar->setObjectName(QStringLiteral("toolBar"));
  bar->setMovable(false);
  bar->setIconSize({18, 18});
  bar->setToolButtonStyle(Qt::ToolButtonTextBesideIcon);
  bar->addActions({m_start, m_pause, m_cancel});
  bar->addSeparator();
  bar->addActions({m_openPlan, m_openStudy, m_openProfile});
  bar->addSeparator();
  bar->addActions({m_open, m_save});
  auto *pictures = new QToolButton(bar);
  pictures->setObjectName(QStringLiteral("pictures"));
  pictures->setDefaultAction(m_pictures->menuAction());
  pictures->setPopupMode(QToolButton::InstantPopup);
  pictures->setToolButtonStyle(Qt::ToolButtonTextBesideIcon);
  bar->addWidget(pictures);
}

void MainWindow::setUpStatusBar() {
  m_status = new EngineStatus(m_workspace->engine(), this);
  m_status->setBackendMenu(m_backends);
  statusBar()->addWidget(m_status, 1);
  auto *instruments = new InstrumentBadge({&m_workspace->data(), &m_workspace->selection()}, this);
  statusBar()->addPermanentWidget(instruments);
  statusBar()->setSizeGripEnabled(false);
  connect(instruments, &InstrumentBadge::clicked, this, [this] {
    showView(QStringLiteral("timeline")); // the tab that the traffic stands around
    showView(QStringLiteral("traffic"));
  });
  connect(m_status, &EngineStatus::problemsClicked, this, [this] { raiseDock(QStringLiteral("log")); });
}

void MainWindow::connectWorkspace() {
  Workspace *workspace = m_workspace.get();
  connect(workspace, &Workspace::message, m_messages, &MessageBar::showMessage);
  connect(workspace, &Workspace::shapeChanged, this, [this] {
    m_settings->takeShape(*m_workspace);
    showTitle();
  });
  connect(&workspace->engine(), &EngineClient::stateChanged, this, &MainWindow::showState);
  connect(&workspace->data(), &RunData::changed, this, &MainWindow::showProblems);
  connect(&workspace->selection(), &Selection::changed, this, &MainWindow::showProblems);
  connect(&workspace->selection(), &Selection::changed, this, &MainWindow::showTitle);
  connect(m_settings, &SettingsPanel::previewWanted, &workspace->engine(), &EngineClient::preview);
  connect(&workspace->engine(), &EngineClient::previewReady, this, [this] {
    // Once: from then on the user knows where a setting's effect is shown.
    if (m_tab == 0 && !std::exchange(m_previewShown, true)) raiseDock(QStringLiteral("layer-error"));
  });
  connect(&m_settings->experiment(), &ExperimentEditor::sourceChanged, this, &MainWindow::loadSources);
  connect(&m_settings->experiment(), &ExperimentEditor::policiesChanged, this, &MainWindow::showState);
  connect(&Theme::current(), &Theme::changed, this, &MainWindow::applyIcons);
}

void MainWindow::open(const WindowOptions &options) {
  m_settings->experiment().setModel(options.model);
  m_settings->experiment().setText(options.text);
  if (options.files.isEmpty())
    m_workspace->openDemo();
  else
    m_workspace->openFiles(options.files);
  showOpenedRuns();
  if (m_remember) m_workspace->engine().setBackend(rememberedBackend());
  if (options.startRun)
    connect(&m_workspace->engine(), &EngineClient::modelReady, this, &MainWindow::startByItself,
            static_cast<Qt::ConnectionType>(Qt::QueuedConnection | Qt::SingleShotConnection));
  if (options.startEngine) m_workspace->startEngine(options.model, options.text);
}

void MainWindow::startByItself() {
  startRun();
  m_messages->showMessage(Workspace::Severity::Info,
                          tr("The default experiment has started: its figures come as they are measured. Cancel ends it."));
}

void MainWindow::startRun() {
  if (m_start->isEnabled()) m_settings->startOn(*m_workspace);
}

void MainWindow::loadSources() {
  ExperimentEditor &experiment = m_settings->experiment();
  m_workspace->openModel(experiment.model(), experiment.text(), experiment.calibration());
}

void MainWindow::showState() {
  using Engine = EngineClient::State;
  const Engine state = m_workspace->engine().state();
  const bool empty = m_settings->experiment().policies().isEmpty();
  m_start->setEnabled(state == Engine::Ready && !empty);
  m_start->setToolTip(empty                               ? tr("Add a policy to the experiment first")
                      : state == Engine::Ready            ? tr("Measures every policy of the experiment (F5)")
                      : m_workspace->engine().isRunning() ? tr("A run is in progress")
                                                          : tr("Waits for the engine to have a model"));
  m_pause->setEnabled(state == Engine::Running || state == Engine::Paused);
  m_pause->setText(state == Engine::Paused ? tr("&Resume") : tr("&Pause"));
  m_pause->setIcon(Theme::current().icon(state == Engine::Paused ? QStringLiteral("start") : QStringLiteral("pause")));
  m_pause->setToolTip(state == Engine::Paused ? tr("Goes on (F6)")
                                              : tr("Waits after the present step; previews still work (F6)"));
  m_cancel->setEnabled(state == Engine::Running || state == Engine::Paused);
  m_settings->setRunning(m_workspace->engine().isRunning());
  m_backends->setEnabled(!m_workspace->engine().isRunning());
  showGenerationState();
}

/// As many as the log lists.
void MainWindow::showProblems() {
  std::size_t count = 0;
  for (const RunData::Run *run : loggedRuns({&m_workspace->data(), &m_workspace->selection()}))
    count += run->problems.size();
  m_status->setProblems(static_cast<int>(count));
}

void MainWindow::showTitle() {
  const QString file = m_workspace->currentFile();
  if (m_workspace->isDemo(file)) return setWindowTitle(tr("Recorded runs — XQScope"));
  const bool live = file == m_workspace->liveStore();
  const QString name = QFileInfo(file.isEmpty() ? m_workspace->liveStore() : file).fileName();
  setWindowTitle(live || file.isEmpty() ? tr("%1 (live) — XQScope").arg(name) : tr("%1 — XQScope").arg(name));
}

void MainWindow::applyIcons() {
  const Theme &theme = Theme::current();
  setWindowIcon(QIcon(QStringLiteral(":/icons/xqscope.svg")));
  m_start->setIcon(theme.icon(QStringLiteral("start")));
  m_cancel->setIcon(theme.icon(QStringLiteral("cancel")));
  m_openPlan->setIcon(theme.icon(QStringLiteral("plan")));
  m_openStudy->setIcon(theme.icon(QStringLiteral("study")));
  m_openProfile->setIcon(theme.icon(QStringLiteral("timeline")));
  m_open->setIcon(theme.icon(QStringLiteral("open")));
  m_save->setIcon(theme.icon(QStringLiteral("save")));
  m_pictures->menuAction()->setIcon(theme.icon(QStringLiteral("export")));
  showState();
}

void MainWindow::restoreLayout() {
  if (!m_remember) return;
  const QSettings settings;
  restoreGeometry(settings.value(QStringLiteral("window/geometry")).toByteArray());
  for (std::size_t tab = 0; tab < m_tabStates.size(); ++tab)
    if (const QByteArray state = settings.value(stateKey(tab)).toByteArray(); !state.isEmpty()) m_tabStates[tab] = state;
  restoreState(m_tabStates.front(), kStateVersion);
}

void MainWindow::closeEvent(QCloseEvent *event) {
  if (m_workspace->engine().isRunning()) {
    const auto answer = QMessageBox::question(this, tr("A run is in progress"),
                                              tr("Close and end the run? Windows that are finished are kept in %1.")
                                                  .arg(QFileInfo(m_workspace->liveStore()).fileName()),
                                              QMessageBox::Close | QMessageBox::Cancel, QMessageBox::Cancel);
    if (answer != QMessageBox::Close) return event->ignore();
    m_workspace->engine().cancel();
  }
  if (m_remember) {
    QSettings settings;
    settings.setValue(QStringLiteral("window/geometry"), saveGeometry());
    m_tabStates[static_cast<std::size_t>(m_tab)] = saveState(kStateVersion);
    for (std::size_t tab = 0; tab < m_tabStates.size(); ++tab) settings.setValue(stateKey(tab), m_tabStates[tab]);
    settings.setValue(QStringLiteral("window/theme"), Theme::modeName(Theme::current().mode()));
  }
  event->accept();
}

} // namespace xqs
