// SPDX-License-Identifier: GPL-3.0-or-later
// The File and Help menus' part of the window: what is opened, saved and exported.
#include "main_window.h"

#include "plot/chart_canvas.h"
#include "views/view.h"
#include "widgets/experiment_editor.h"
#include "widgets/message_bar.h"
#include "widgets/settings_panel.h"

#include <QCoreApplication>
#include <QFile>
#include <QFileDialog>
#include <QFileInfo>
#include <QMenuBar>
#include <QMessageBox>
#include <QPainter>
#include <QSaveFile>

#include <algorithm>

namespace xqs {

namespace {
constexpr double kPictureScale = 2;

QImage imageOf(const View &view) {
  if (const ChartCanvas *chart = view.picture()) return chart->toImage(kPictureScale);
  QImage image(view.size() * kPictureScale, QImage::Format_ARGB32_Premultiplied);
  image.setDevicePixelRatio(kPictureScale);
  const_cast<View &>(view).render(&image); // QWidget::render is not const; it changes nothing
  return image;
}
} // namespace

void MainWindow::setUpFileMenu() {
  QMenu *menu = menuBar()->addMenu(tr("&File"));
  m_open = menu->addAction(tr("&Open…"), this, &MainWindow::openFiles);
  m_open->setShortcut(QKeySequence::Open);
  m_open->setToolTip(tr("Opens finished runs (.xqs), several to compare them (%1)").arg(m_open->shortcut().toString()));
  QAction *openModel = menu->addAction(tr("Open &model…"), this, &MainWindow::openModel);
  openModel->setObjectName(QStringLiteral("openModel"));
  openModel->setShortcut(Qt::CTRL | Qt::Key_M);
  m_save = menu->addAction(tr("&Save as…"), this, &MainWindow::saveAs);
  m_save->setShortcut(Qt::CTRL | Qt::SHIFT | Qt::Key_S);
  m_save->setToolTip(tr("Copies the shown run's file (%1)").arg(m_save->shortcut().toString()));
  menu->addSeparator();
  m_pictures = menu->addMenu(tr("Export &picture"));
  for (const OpenView &open : m_views) {
    const QString title = QCoreApplication::translate("Views", open.info->title);
    m_pictures->addAction(title + QStringLiteral("…"), this,
                          [this, view = open.view, title] { exportPicture(*view, title); });
  }
  menu->addAction(tr("Export tables as &CSV…"), this, &MainWindow::exportCsv);
  menu->addAction(tr("Export as &JSON…"), this, &MainWindow::exportJson);
  menu->addSeparator();
  QAction *quit = menu->addAction(tr("&Quit"), this, &QWidget::close);
  quit->setShortcut(QKeySequence::Quit);
}

void MainWindow::openFiles() {
  const QStringList files = QFileDialog::getOpenFileNames(this, tr("Open results"), {}, tr("XQScope results (*.xqs)"));
  if (files.isEmpty()) return;
  m_workspace->openFiles(files);
  showOpenedRuns();
}

/// Where all that was opened is of one kind, its view comes to the front.
void MainWindow::showOpenedRuns() {
  const auto &runs = m_workspace->selection().runs();
  const auto all = [&](const char *kind) {
    return !runs.empty() && std::ranges::all_of(runs, [&](RunData::Key key) {
      const RunData::Run *run = m_workspace->data().find(key);
      return run && run->row.kind == kind;
    });
  };
  if (all("generate")) showView(QStringLiteral("generation"));
  if (all("profile")) showView(QStringLiteral("timeline"));
}

void MainWindow::openModel() {
  const QString file = QFileDialog::getOpenFileName(this, tr("Open a model"), {}, tr("GGUF models (*.gguf);;All files (*)"));
  if (file.isEmpty()) return;
  m_settings->experiment().setModel(file);
  if (m_workspace->engine().state() != EngineClient::State::Stopped) return;
  loadSources(); // the same model again too: an engine that gave up has forgotten it
  m_workspace->engine().start();
}

void MainWindow::saveAs() {
  const QString file = QFileDialog::getSaveFileName(
      this, tr("Save results as"), QFileInfo(m_workspace->currentFile()).fileName(), tr("XQScope results (*.xqs)"));
  if (!file.isEmpty()) m_workspace->saveAs(file);
}

void MainWindow::exportCsv() {
  const QString folder = QFileDialog::getExistingDirectory(this, tr("Folder for one CSV file a table"));
  if (!folder.isEmpty()) m_workspace->exportCsvTo(folder);
}

void MainWindow::exportJson() {
  const QString file =
      QFileDialog::getSaveFileName(this, tr("Export as JSON"), QStringLiteral("results.json"), tr("JSON (*.json)"));
  if (!file.isEmpty()) m_workspace->exportJsonTo(file);
}

void MainWindow::exportPicture(const View &view, const QString &title) {
  const QString filter = view.picture() ? tr("PNG picture (*.png);;SVG drawing (*.svg)") : tr("PNG picture (*.png)");
  const QString file = QFileDialog::getSaveFileName(this, tr("Export picture: %1").arg(title),
                                                    view.objectName() + QStringLiteral(".png"), filter);
  if (file.isEmpty()) return;
  if (savePicture(view, file))
    m_messages->showMessage(Workspace::Severity::Info, tr("Written to %1.").arg(file));
  else
    m_messages->showMessage(Workspace::Severity::Error, tr("%1 cannot be written; choose another folder.").arg(file));
}

bool MainWindow::savePicture(const View &view, const QString &file) {
  QSaveFile out(file);
  if (!out.open(QIODevice::WriteOnly)) return false;
  if (file.endsWith(QLatin1String(".svg"), Qt::CaseInsensitive) && view.picture())
    view.picture()->writeSvg(out, view.accessibleName());
  else if (!imageOf(view).save(&out, "PNG"))
    return false;
  return out.commit();
}

void MainWindow::about() {
  QFile licences(QStringLiteral(":/licences/third-party.md"));
  QMessageBox box(this);
  box.setWindowTitle(tr("About XQScope"));
  box.setIconPixmap(windowIcon().pixmap(64, 64));
  box.setText(tr("<h3>XQScope %1</h3><p>See what compressing a language model's KV cache does.</p>")
                  .arg(QStringLiteral(XQS_VERSION)));
  box.setInformativeText(
      tr("<p>The window is free software under the GNU General Public License, version 3 or later, because it "
         "links Qt Charts; engine, kernels and command line are under the Apache License 2.0.</p>"
         "<p>Details lists everything it is built on.</p>"));
  if (licences.open(QIODevice::ReadOnly)) box.setDetailedText(QString::fromUtf8(licences.readAll()));
  box.exec();
}

} // namespace xqs
