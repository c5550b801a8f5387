// SPDX-License-Identifier: GPL-3.0-or-later
#include "theme.h"

#include "cache/policy.h"

#include <QApplication>
#include <QFile>
#include <QPainter>
#include <QStyleFactory>
#include <QSvgRenderer>

#include <iterator>

namespace xqs {

namespace {

/// Light and dark colour of a method's series: Okabe and Ito's palette, darkened on white and lightened on black until each
/// keeps a contrast of at least 3 to its ground.
struct MethodColor {
  const char *method;
  QRgb light, dark;
};
constexpr MethodColor kMethodColors[] = {
    {"fp16", 0xff5f6b7a, 0xffb4bcc8},   {"kivi", 0xffc44e00, 0xffff8648},      {"kivi-star", 0xffb57900, 0xfff5b841},
    {"xquant", 0xff0067a8, 0xff58aaf2}, {"xquant-cl", 0xff00806a, 0xff35cfa4}, {"low-rank", 0xffae4f8f, 0xffe79bc8},
};
/// For methods that the table does not know yet, in the order of the registry.
constexpr MethodColor kSpareColors[] = {
    {"", 0xff8a5a2b, 0xffcf9c6a},
    {"", 0xff6a4fbf, 0xffa894f0},
    {"", 0xff7d7a00, 0xffd3d04c},
    {"", 0xffa3323c, 0xfff0828b},
};

const Theme::Colors kLight{QColor(0xff, 0xff, 0xff), QColor(0xf4, 0xf5, 0xf7), QColor(0x1d, 0x23, 0x2b),
                           QColor(0x5d, 0x67, 0x74), QColor(0xe2, 0xe6, 0xea), QColor(0xc9, 0xcf, 0xd6),
                           QColor(0x1f, 0x6f, 0xb8), QColor(0x1c, 0x7c, 0x47), QColor(0x95, 0x5f, 0x00),
                           QColor(0xb3, 0x26, 0x1e)};
const Theme::Colors kDark{QColor(0x18, 0x1b, 0x20), QColor(0x22, 0x26, 0x2c), QColor(0xe4, 0xe8, 0xed),
                          QColor(0x9a, 0xa4, 0xb1), QColor(0x31, 0x37, 0x3f), QColor(0x3d, 0x44, 0x4e),
                          QColor(0x4f, 0x9d, 0xe6), QColor(0x5c, 0xc4, 0x8a), QColor(0xe3, 0xac, 0x4a),
                          QColor(0xf2, 0x80, 0x79)};

bool looksDark(const QPalette &palette) {
  return palette.color(QPalette::Window).lightness() < palette.color(QPalette::WindowText).lightness();
}

/// Fusion draws the frame of a check box darker than the window: on a dark one it vanishes. Hence our own box.
QString styleSheet(const Theme::Colors &c, bool dark) {
  return QStringLiteral(
             "QToolTip { color: %1; background: %2; border: 1px solid %3; padding: 3px; }"
             "QMainWindow::separator { background: %3; width: 1px; height: 1px; }"
             "QMainWindow::separator:hover { background: %4; }"
             "QDockWidget::title { background: %2; padding: 5px 8px; }"
             "QToolBar { border: none; border-bottom: 1px solid %3; spacing: 2px; padding: 2px 4px; }"
             "QStatusBar::item { border: none; }"
             "QCheckBox::indicator { width: 12px; height: 12px; border: 1px solid %5; border-radius: 2px; background: %6; }"
             "QCheckBox::indicator:hover, QCheckBox::indicator:focus { border-color: %4; }"
             "QCheckBox::indicator:checked { border-color: %4; background: %4; image: url(:/themes/check-%7.svg); }"
             "QCheckBox::indicator:disabled { border-color: %3; }"
             "QCheckBox::indicator:checked:disabled { background: %3; }")
      .arg(c.text.name(), c.surface.name(), c.border.name(), c.accent.name(), c.mutedText.name(), c.background.name(),
           dark ? QStringLiteral("dark") : QStringLiteral("light"));
}

QPixmap drawIcon(const QByteArray &svg, const QColor &color, int size) {
  QByteArray text = svg;
  text.replace("#808a96", color.name().toLatin1());
  QSvgRenderer renderer(text);
  QPixmap pixmap(size, size);
  pixmap.fill(Qt::transparent);
  QPainter painter(&pixmap);
  renderer.render(&painter);
  return pixmap;
}

} // namespace

Theme &Theme::current() {
  static Theme theme;
  return theme;
}

Theme::Theme() : m_systemDark(looksDark(QGuiApplication::palette())) {}

const Theme::Colors &Theme::colors() const { return m_dark ? kDark : kLight; }

QPalette Theme::palette() const {
  const Colors &c = colors();
  QPalette p;
  p.setColor(QPalette::Window, c.surface);
  p.setColor(QPalette::WindowText, c.text);
  p.setColor(QPalette::Base, c.background);
  p.setColor(QPalette::AlternateBase, m_dark ? c.surface.darker(108) : c.surface.lighter(102));
  p.setColor(QPalette::Text, c.text);
  p.setColor(QPalette::PlaceholderText, c.mutedText);
  p.setColor(QPalette::Button, m_dark ? QColor(0x2c, 0x31, 0x39) : QColor(0xee, 0xf0, 0xf3));
  p.setColor(QPalette::ButtonText, c.text);
  p.setColor(QPalette::BrightText, c.error);
  p.setColor(QPalette::ToolTipBase, c.surface);
  p.setColor(QPalette::ToolTipText, c.text);
  p.setColor(QPalette::Highlight, c.accent);
  p.setColor(QPalette::HighlightedText, m_dark ? QColor(0x0d, 0x11, 0x16) : QColor(Qt::white));
  p.setColor(QPalette::Link, c.accent);
  p.setColor(QPalette::LinkVisited, c.accent);
  p.setColor(QPalette::Light, m_dark ? QColor(0x3a, 0x41, 0x4b) : QColor(Qt::white));
  p.setColor(QPalette::Midlight, m_dark ? QColor(0x33, 0x39, 0x42) : QColor(0xe9, 0xec, 0xef));
  p.setColor(QPalette::Mid, c.border);
  p.setColor(QPalette::Dark, m_dark ? QColor(0x12, 0x15, 0x19) : QColor(0xa9, 0xb1, 0xbb));
  p.setColor(QPalette::Shadow, m_dark ? QColor(0x08, 0x0a, 0x0c) : QColor(0x7a, 0x83, 0x8e));
  const QColor faint = m_dark ? QColor(0x6b, 0x74, 0x80) : QColor(0xa0, 0xa8, 0xb2);
  for (const auto role : {QPalette::WindowText, QPalette::Text, QPalette::ButtonText, QPalette::HighlightedText})
    p.setColor(QPalette::Disabled, role, faint);
  p.setColor(QPalette::Disabled, QPalette::Base, c.surface);
  p.setColor(QPalette::Disabled, QPalette::Highlight, c.border);
  return p;
}

void Theme::apply(Mode mode) {
  m_mode = mode;
  m_dark = mode == Mode::Dark || (mode == Mode::System && m_systemDark);
  QApplication::setStyle(QStyleFactory::create(QStringLiteral("Fusion")));
  QApplication::setPalette(palette());
  qApp->setStyleSheet(styleSheet(colors(), m_dark));
  Q_EMIT changed();
}

QIcon Theme::icon(const QString &name) const {
  QFile file(QStringLiteral(":/icons/%1.svg").arg(name));
  if (!file.open(QIODevice::ReadOnly)) return {};
  const QByteArray svg = file.readAll();
  const QPalette p = palette();
  QIcon icon;
  for (const int size : {16, 24, 32, 48, 64}) {
    icon.addPixmap(drawIcon(svg, p.color(QPalette::ButtonText), size), QIcon::Normal);
    icon.addPixmap(drawIcon(svg, p.color(QPalette::Disabled, QPalette::ButtonText), size), QIcon::Disabled);
  }
  return icon;
}

Theme::Mode Theme::modeFromName(const QString &name) {
  if (name == QLatin1String("light")) return Mode::Light;
  if (name == QLatin1String("dark")) return Mode::Dark;
  return Mode::System;
}

QString Theme::modeName(Mode mode) {
  switch (mode) {
  case Mode::System: return QStringLiteral("system");
  case Mode::Light: return QStringLiteral("light");
  case Mode::Dark: return QStringLiteral("dark");
  }
  return QStringLiteral("system");
}

QColor methodColor(const QString &method) {
  const bool dark = Theme::current().isDark();
  for (const MethodColor &c : kMethodColors)
    if (method == QLatin1String(c.method)) return QColor::fromRgb(dark ? c.dark : c.light);
  std::size_t index = 0;
  for (const MethodInfo &info : methodRegistry()) {
    if (method.toStdString() == info.name) break;
    ++index;
  }
  const MethodColor &spare = kSpareColors[index % std::size(kSpareColors)];
  return QColor::fromRgb(dark ? spare.dark : spare.light);
}

} // namespace xqs
