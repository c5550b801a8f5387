// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "models/run_data.h"

#include <QWidget>

#include <span>

namespace xqs {

/// What every view gets. Not owned; outlives the views.
struct ViewContext {
  RunData *data = nullptr;
  Selection *selection = nullptr;
};

/// One picture of the store. Computes nothing: figures come from rows or from `core/analysis`.
class View : public QWidget {
  Q_OBJECT
public:
  View(const ViewContext &context, QWidget *parent) : QWidget(parent), m_context(context) {}
  /// Redraws from the store; called on RunData::changed and Selection::changed, coalesced to 25 Hz while visible.
  virtual void refresh() = 0;
  /// The palette or theme changed: colours anew.
  virtual void applyTheme() {}

protected:
  const ViewContext &context() const { return m_context; }

private:
  ViewContext m_context;
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
