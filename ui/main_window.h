// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "models/workspace.h"

#include <QMainWindow>

#include <memory>
#include <vector>

class QAction;
class QDockWidget;
class QMenu;
class QTabWidget;

namespace xqs {

class EngineStatus;
class GenerationForm;
class MessageBar;
class PlanEditor;
class PolicyTablePanel;
class ProfileDialog;
class SettingsPanel;
class StudyBuilder;
class View;
struct ViewInfo;

struct WindowOptions {
  QStringList files; ///< .xqs to open; empty: the demo run
  QString model = QStringLiteral("default");
  QString text = QStringLiteral("builtin:primer");
  bool startEngine = true;
  bool startRun = false; ///< the default experiment, as soon as the engine has its model
  bool remember = true;  ///< geometry, docks and theme are kept between sessions
};

/// The window: views of the store around the curve, settings on the left, tables and log below. Opens at once; the engine
/// loads its model meanwhile. Computes nothing and waits for nothing.
class MainWindow : public QMainWindow {
  Q_OBJECT
public:
  explicit MainWindow(const WindowOptions &options, QWidget *parent = nullptr);
  ~MainWindow() override;

  Workspace &workspace() { return *m_workspace; }
  SettingsPanel &settings() { return *m_settings; }
  MessageBar &messages() { return *m_messages; }
  View *view(const QString &id) const; ///< null: no such view
  /// Windows of their own, made when they are first asked for (main_window_tools.cpp).
  PlanEditor &planEditor();
  StudyBuilder &studyBuilder();
  ProfileDialog &profileDialog();
  /// Brings a view to the front: its tab in the centre, or its dock.
  void showView(const QString &id);
  /// Runs the experiment of the settings panel.
  void startRun();
  /// Generates what the form of the generation tab asks for, and shows it.
  void startGeneration();
  /// The view's picture as PNG, or SVG by the name's ending, twice as fine as on the screen.
  bool savePicture(const View &view, const QString &file);

protected:
  void closeEvent(QCloseEvent *event) override;

private:
  void setUpCentre();
  void setUpViews();
  void setUpTabs();
  void setUpGeneration();
  QWidget *generationPage(View *view);
  void tabChanged(int tab);
  void showGenerationState();
  void showOpenedRuns();
  void setUpPanels();
  void placeDocks();
  void setUpTools();
  void openPlan(const QString &policy);
  void openStudy(const QString &builtIn);
  void setUpBackends();
  void showBackends();
  static QString rememberedBackend();
  void chooseBackend(const QString &backend);
  void setUpRunActions();
  void setUpFileMenu();
  void setUpRunMenu();
  void setUpViewMenu();
  void setUpHelpMenu();
  void setUpToolBar();
  void setUpStatusBar();
  void connectWorkspace();
  void restoreLayout();
  void open(const WindowOptions &options);
  QDockWidget *addDock(const QString &id, const QString &title, QWidget *content);
  void raiseDock(const QString &id);

  void openFiles();
  void openModel();
  void saveAs();
  void exportCsv();
  void exportJson();
  void exportPicture(const View &view, const QString &title);
  void about();
  void loadSources();
  void startByItself();
  void showState();
  void showProblems();
  void showTitle();
  void applyIcons();

  std::unique_ptr<Workspace> m_workspace;
  MessageBar *m_messages = nullptr;
  SettingsPanel *m_settings = nullptr;
  PolicyTablePanel *m_policies = nullptr;
  EngineStatus *m_status = nullptr;
  PlanEditor *m_plan = nullptr;
  StudyBuilder *m_studies = nullptr;
  ProfileDialog *m_profile = nullptr;
  QAction *m_openPlan = nullptr, *m_openStudy = nullptr, *m_openProfile = nullptr;
  struct OpenView {
    const ViewInfo *info = nullptr;
    View *view = nullptr;
  };
  std::vector<OpenView> m_views;
  QAction *m_start = nullptr, *m_pause = nullptr, *m_cancel = nullptr;
  QAction *m_open = nullptr, *m_save = nullptr;
  QMenu *m_pictures = nullptr;
  QMenu *m_backends = nullptr; ///< where to compute (main_window_backends.cpp)
  bool m_remember = true;
  bool m_previewShown = false;
  QTabWidget *m_tabs = nullptr; ///< of the centre; each remembers which docks stand around it
  GenerationForm *m_generation = nullptr;
  bool m_generating = false;
  std::vector<QByteArray> m_tabStates, m_defaultStates; ///< by tab
  int m_tab = 0;                                        ///< whose docks are shown
};

} // namespace xqs
