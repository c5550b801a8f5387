// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/chart_accessible.h"

#include "plot/chart_canvas.h"

#include <QAccessibleWidget>
#include <QTextDocumentFragment>

namespace xqs {

namespace {

class ChartAccessible : public QAccessibleWidget {
public:
  explicit ChartAccessible(ChartCanvas *canvas) : QAccessibleWidget(canvas, QAccessible::Chart) {}

  QString text(QAccessible::Text kind) const override {
    const auto *canvas = static_cast<const ChartCanvas *>(widget());
    if (kind == QAccessible::Description && !canvas->emptyText().isEmpty()) return canvas->emptyText();
    if (kind == QAccessible::Value && canvas->cursor() >= 0)
      return QTextDocumentFragment::fromHtml(canvas->itemText(canvas->cursor())).toPlainText();
    return QAccessibleWidget::text(kind);
  }
};

QAccessibleInterface *makeInterface(const QString &, QObject *object) {
  auto *canvas = qobject_cast<ChartCanvas *>(object);
  return canvas != nullptr ? new ChartAccessible(canvas) : nullptr; // Qt owns it
}

} // namespace

void installChartAccessibility() {
  static const bool installed = [] {
    QAccessible::installFactory(makeInterface);
    return true;
  }();
  Q_UNUSED(installed)
}

} // namespace xqs
