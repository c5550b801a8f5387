// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/message_bar.h"

#include "theme.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QToolButton>

namespace xqs {

constexpr int kInfoMs = 8000;

MessageBar::MessageBar(QWidget *parent) : QWidget(parent), m_text(new QLabel(this)) {
  setAttribute(Qt::WA_StyledBackground);
  setObjectName(QStringLiteral("messageBar"));
  m_text->setWordWrap(true);
  m_text->setTextInteractionFlags(Qt::TextSelectableByMouse);
  m_text->setAccessibleName(tr("Message"));
  auto *close = new QToolButton(this);
  close->setText(tr("Close"));
  close->setAutoRaise(true);
  close->setAccessibleName(tr("Close the message"));
  auto *row = new QHBoxLayout(this);
  row->setContentsMargins(10, 4, 6, 4);
  row->addWidget(m_text, 1);
  row->addWidget(close);
  m_hide.setSingleShot(true);
  connect(close, &QToolButton::clicked, this, &QWidget::hide);
  connect(&m_hide, &QTimer::timeout, this, &QWidget::hide);
  connect(&Theme::current(), &Theme::changed, this, &MessageBar::applyTheme);
  hide();
}

void MessageBar::showMessage(Workspace::Severity severity, const QString &sentence) {
  m_severity = severity;
  m_text->setText(sentence);
  applyTheme();
  setVisible(!sentence.isEmpty());
  if (severity == Workspace::Severity::Info)
    m_hide.start(kInfoMs);
  else
    m_hide.stop();
}

QString MessageBar::text() const { return m_text->text(); }

void MessageBar::applyTheme() {
  const Theme::Colors &c = Theme::current().colors();
  const QColor edge = m_severity == Workspace::Severity::Error     ? c.error
                      : m_severity == Workspace::Severity::Warning ? c.warning
                                                                   : c.accent;
  setStyleSheet(QStringLiteral("#messageBar { background: %1; border-left: 4px solid %2; border-bottom: 1px solid %3; }")
                    .arg(c.background.name(), edge.name(), c.border.name()));
}

} // namespace xqs
