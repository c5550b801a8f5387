// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QColor>
#include <QIcon>
#include <QObject>
#include <QPalette>
#include <QString>

namespace xqs {

/// The window's look: Fusion with our own light and dark palette. Views ask `current()` when they paint and again on
/// `changed` (through View::applyTheme). Qt 6.4 has no QStyleHints::colorScheme, so System means: what the platform's
/// palette was when the program started.
class Theme : public QObject {
  Q_OBJECT
public:
  enum class Mode { System, Light, Dark };
  Q_ENUM(Mode)

  /// Roles beyond QPalette's.
  struct Colors {
    QColor background; ///< the plot area of a view
    QColor surface;    ///< panels, docks
    QColor text, mutedText;
    QColor grid;   ///< lines behind data
    QColor border; ///< frames, separators
    QColor accent; ///< selection, focus, progress
    QColor good, warning, error;
  };

  static Theme &current();

  /// Sets style, palette and style sheet of the application.
  void apply(Mode mode);
  Mode mode() const { return m_mode; }
  bool isDark() const { return m_dark; }
  const Colors &colors() const;
  QPalette palette() const;
  /// :/icons/<name>.svg in the text's colour, greyed where disabled.
  QIcon icon(const QString &name) const;

  /// "system", "light", "dark": settings and the command line; System where unknown.
  static Mode modeFromName(const QString &name);
  static QString modeName(Mode mode);

Q_SIGNALS:
  void changed();

private:
  Theme();
  Mode m_mode = Mode::System;
  bool m_dark = false;
  bool m_systemDark = false;
};

/// The colour of a method's series in the current theme: one table, told apart by people with any colour vision.
QColor methodColor(const QString &method);

} // namespace xqs
