// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "models/run_data.h"

#include <QTimer>
#include <QWidget>

#include <span>

namespace xqs {

/// What every view gets. Not owned; outlives the views.
struct ViewContext {
  RunData *data = nullptr;
  Selection *selection = nullptr;
};

class ChartCanvas;

/// One picture of the store. Computes nothing: figures come from rows or from `core/analysis`.
class View : public QWidget {
  Q_OBJECT
public:
  View(const ViewContext &context, QWidget *parent);
  /// Redraws from the store now. Called by the view itself after RunData::changed and Selection::changed, coalesced to 25 Hz
  /// while visible and once when it becomes visible; callable at any time.
  virtual void refresh() = 0;
  /// The palette or theme changed: colours anew. Called by the view itself after Theme::changed.
  virtual void applyTheme() {}
  /// What "save picture" saves; null where the view has no chart.
  virtual const ChartCanvas *picture() const { return nullptr; }

protected:
  const ViewContext &context() const { return m_context; }
  /// `refresh` soon: at most 25 times a second, and not before the view is visible.
  void scheduleRefresh();
  void showEvent(QShowEvent *event) override;
  void contextMenuEvent(QContextMenuEvent *event) override; ///< copy or save the picture

private:
  void savePicture();
  ViewContext m_context;
  QTimer m_timer;
  bool m_stale = true;
};

/// One line a view (view_registry.cpp): dock, menu entry, layout and smoke test come from it.
struct ViewInfo {
  const char *id;    ///< object name, stable
  const char *title; ///< translated with tr() by the window
  const char *icon;  ///< resource name under :/icons
  View *(*create)(const ViewContext &, QWidget *parent);
};
std::span<const ViewInfo> viewRegistry();

} // namespace xqs
