// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/generation_column.h"

#include "plot/format.h"
#include "plot/growth_chart.h"
#include "plot/series_style.h"
#include "theme.h"
#include "views/run_lookup.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QPixmap>
#include <QScrollBar>
#include <QTextEdit>
#include <QToolButton>
#include <QVBoxLayout>

#include <cmath>

namespace xqs {

namespace {

constexpr int kLeastWidth = 185;

QString methodOf(const QString &policy) { return policy.section(QLatin1Char(':'), 0, 0); }

QColor columnColor(const QString &policy) {
  return policy.isEmpty() ? Theme::current().colors().text : methodColor(methodOf(policy));
}

QString tooltipOf(const GeneratedRow &row) {
  return GenerationColumnPanel::tr("token %1, id %2, log-probability %3 nats")
      .arg(row.step + 1)
      .arg(row.token)
      .arg(formatNumber(row.logProbability));
}

/// Something to see where a token is only white space.
QString visible(const QString &piece) {
  if (!piece.trimmed().isEmpty()) return piece;
  return piece.contains(QLatin1Char('\n')) ? QStringLiteral("↵") + piece : QStringLiteral("␣");
}

} // namespace

GenerationColumnPanel::GenerationColumnPanel(QWidget *parent) : QFrame(parent) {
  setFrameShape(QFrame::StyledPanel);
  setMinimumWidth(kLeastWidth);
  m_swatch = new QLabel(this);
  m_title = new QLabel(this);
  m_title->setWordWrap(true);
  m_title->setTextInteractionFlags(Qt::TextSelectableByMouse);
  QFont bold = m_title->font();
  bold.setBold(true);
  m_title->setFont(bold);
  m_size = new QLabel(this);
  m_size->setWordWrap(true);
  m_size->setForegroundRole(QPalette::PlaceholderText);
  m_chart = new GrowthChart(this);
  m_divergence = new QToolButton(this);
  m_divergence->setAutoRaise(true);
  m_divergence->setToolButtonStyle(Qt::ToolButtonTextOnly);
  m_noise = new QLabel(this);
  m_noise->setWordWrap(true);
  m_noise->setForegroundRole(QPalette::PlaceholderText);
  m_text = new QTextEdit(this);
  m_text->setReadOnly(true);
  m_text->setFrameShape(QFrame::NoFrame);
  m_text->setTextInteractionFlags(Qt::TextSelectableByMouse | Qt::TextSelectableByKeyboard);

  auto *head = new QHBoxLayout;
  head->setSpacing(6);
  head->addWidget(m_swatch, 0, Qt::AlignTop);
  head->addWidget(m_title, 1);
  auto *column = new QVBoxLayout(this);
  column->setContentsMargins(6, 6, 6, 6);
  column->setSpacing(3);
  column->addLayout(head);
  column->addWidget(m_size);
  column->addWidget(m_chart);
  column->addWidget(m_divergence, 0, Qt::AlignLeft);
  column->addWidget(m_noise);
  column->addWidget(m_text, 1);
  connect(m_divergence, &QToolButton::clicked, this, &GenerationColumnPanel::goToMark);
  connect(m_chart, &ChartCanvas::activated, this, &GenerationColumnPanel::goToMark);
}

QString GenerationColumnPanel::text() const { return m_text->toPlainText(); }
QString GenerationColumnPanel::verdict() const { return m_divergence->text(); }

void GenerationColumnPanel::clear() {
  m_text->clear();
  m_shown = 0;
  m_mark = -1;
  m_markPending = false;
}

void GenerationColumnPanel::showColumn(const Frame &frame, const GenerationColumn &column) {
  showHead(frame, column);
  showDivergence(frame, column);
  showGrowth(frame, column);
  appendText(frame, column);
}

void GenerationColumnPanel::showHead(const Frame &frame, const GenerationColumn &column) {
  QPixmap swatch(10, 14);
  swatch.fill(columnColor(frame.policy));
  m_swatch->setPixmap(swatch);
  const QString title = frame.policy.isEmpty() ? tr("Exact model") : policyTitle(frame.policy);
  m_title->setText(title);
  m_title->setToolTip(frame.policy.isEmpty() ? tr("Nothing compressed: FP32 K and V. The text that the others are compared "
                                                  "with; its bytes are those of the model's own FP16 KV.")
                                             : frame.policy);
  m_chart->setAccessibleName(tr("Cache of %1").arg(title));
  m_text->setAccessibleName(tr("Text of %1").arg(title));
  if (column.tokens.empty()) {
    m_size->setText(frame.finished ? tr("no token") : tr("waits for its first token"));
    return;
  }
  const GeneratedRow &last = *column.tokens.back();
  QString size = formatBytes(last.formatBytes);
  size = frame.policy.isEmpty() ? tr("%1 as FP16").arg(size)
                                : tr("%1 · %2 of FP16").arg(size, formatPercent(column.relativeSize));
  m_size->setText(size);
  m_size->setToolTip(tr("Format bytes of the cache after %1 tokens; allocated %2, working memory %3")
                         .arg(last.cacheTokens)
                         .arg(formatBytes(last.allocatedBytes), formatBytes(last.accumulatorBytes)));
}

void GenerationColumnPanel::showDivergence(const Frame &frame, const GenerationColumn &column) {
  const auto drawn = static_cast<qint64>(column.tokens.size());
  QString verdict;
  if (frame.policy.isEmpty())
    verdict = tr("%1 tokens").arg(drawn);
  else if (column.divergence)
    verdict = tr("Differs from token %1 on").arg(*column.divergence + 1);
  else
    verdict = frame.finished ? tr("The same text, %1 tokens").arg(drawn) : tr("The same for %1 tokens").arg(drawn);
  m_divergence->setText(verdict);
  m_divergence->setEnabled(column.divergence.has_value());
  m_divergence->setToolTip(column.divergence ? tr("Shows the first token that is not the exact model's") : QString());
  QPalette colors = palette();
  const Theme::Colors &theme = Theme::current().colors();
  const QColor color = column.withinNoise       ? theme.warning
                       : column.divergence      ? theme.error
                       : frame.policy.isEmpty() ? theme.text
                                                : theme.good;
  for (const auto group : {QPalette::Active, QPalette::Inactive, QPalette::Disabled})
    for (const auto role : {QPalette::ButtonText, QPalette::Text}) colors.setColor(group, role, color);
  m_divergence->setPalette(colors);
  m_noise->setVisible(column.noiseMeasured);
  QString noise =
      column.noise ? tr("Noise floor: token %1").arg(*column.noise + 1) : tr("Noise floor: none in %1").arg(drawn);
  if (column.withinNoise) noise += tr(", may be rounding");
  m_noise->setText(noise);
  m_noise->setToolTip(tr("The same column once more, its embedded tokens perturbed by 1e-6, parts from its own text there: "
                         "a difference from that token on may be no more than rounding."));
  m_text->setAccessibleDescription(column.noiseMeasured ? verdict + QStringLiteral(". ") + m_noise->text() : verdict);
  m_chart->setAccessibleDescription(
      tr("Bytes of the cache by token beside FP16; left and right move over the tokens. %1").arg(verdict));
}

void GenerationColumnPanel::showGrowth(const Frame &frame, const GenerationColumn &column) {
  if (column.tokens.empty()) {
    m_chart->setData({});
    m_chart->setEmptyText(tr("No token yet.\nThe cache's bytes come with the first."));
    return;
  }
  m_chart->setEmptyText({});
  GrowthChart::Data growth;
  for (const GeneratedRow *row : column.tokens)
    growth.points.push_back({static_cast<double>(row->cacheTokens), static_cast<double>(row->formatBytes)});
  growth.fp16BytesPerToken = column.fp16BytesPerToken;
  growth.firstTokens = growth.points.front().tokens;
  growth.lastTokens = std::max({static_cast<double>(frame.lastTokens), growth.points.back().tokens, growth.firstTokens + 1});
  growth.marked = column.divergence ? static_cast<int>(*column.divergence) : -1;
  growth.color = columnColor(frame.policy);
  m_chart->setData(std::move(growth));
}

void GenerationColumnPanel::appendText(const Frame &frame, const GenerationColumn &column) {
  if (m_shown > column.tokens.size()) clear();
  if (m_shown == column.tokens.size()) return;
  const Theme::Colors &colors = Theme::current().colors();
  QScrollBar *bar = m_text->verticalScrollBar();
  const bool follow = bar->value() == bar->maximum();
  QTextCursor cursor(m_text->document());
  cursor.movePosition(QTextCursor::End);
  cursor.beginEditBlock();
  for (; m_shown < column.tokens.size(); ++m_shown) {
    const GeneratedRow &row = *column.tokens[m_shown];
    m_markPending = m_markPending || column.divergence == row.step;
    QString piece = QString::fromStdString(row.text);
    if (row.ends != 0) piece += QStringLiteral(" ■");
    if (piece.isEmpty()) continue; // inside a character
    QTextCharFormat format;
    format.setForeground(frame.policy.isEmpty() || row.sameAsExact == 0 ? colors.text : colors.mutedText);
    format.setToolTip(row.ends != 0 ? tr("the model ends its text here") : tooltipOf(row));
    if (m_markPending) {
      m_markPending = false;
      m_mark = cursor.position();
      format.setForeground(colors.background);
      format.setBackground(colors.error);
      format.setFontWeight(QFont::Bold);
      piece = visible(piece);
    }
    cursor.insertText(piece, format);
  }
  cursor.endEditBlock();
  if (follow) bar->setValue(bar->maximum());
}

void GenerationColumnPanel::goToMark() {
  if (m_mark < 0) return;
  QTextCursor cursor(m_text->document());
  cursor.setPosition(m_mark);
  m_text->setTextCursor(cursor);
  m_text->ensureCursorVisible();
  m_text->setFocus();
}

} // namespace xqs
