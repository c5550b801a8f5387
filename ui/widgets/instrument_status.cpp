// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/instrument_status.h"

#include "analysis/traffic.h"
#include "instruments.h"
#include "theme.h"
#include "views/profile_lookup.h"

#include <QHBoxLayout>
#include <QToolButton>

namespace xqs {

namespace {

QString instrumentTitle(const std::string &name) {
  if (name == instrumentName(Instrument::Timeline)) return InstrumentStatus::tr("Timeline");
  if (name == instrumentName(Instrument::Counters)) return InstrumentStatus::tr("Counters");
  if (name == instrumentName(Instrument::Sampling)) return InstrumentStatus::tr("Sampling");
  return QString::fromStdString(name);
}

bool isReady(const std::vector<InstrumentRow> &rows, Instrument instrument) {
  for (const InstrumentRow &row : rows)
    if (row.instrument == instrumentName(instrument)) return row.state == instrumentStateName(InstrumentState::Ready);
  return false;
}

} // namespace

InstrumentStatus::InstrumentStatus(const ViewContext &context, QWidget *parent) : QWidget(parent), m_context(context) {
  m_badge = new QToolButton(this);
  m_badge->setObjectName(QStringLiteral("instruments"));
  m_badge->setAutoRaise(true);
  auto *row = new QHBoxLayout(this);
  row->setContentsMargins(0, 0, 0, 0);
  row->addWidget(m_badge);
  connect(m_badge, &QToolButton::clicked, this, &InstrumentStatus::clicked);
  connect(context.data, &RunData::changed, this, &InstrumentStatus::showState);
  connect(context.selection, &Selection::changed, this, &InstrumentStatus::showState);
  connect(&Theme::current(), &Theme::changed, this, &InstrumentStatus::showState);
  showState();
}

void InstrumentStatus::showState() {
  const RunData::Run *run = shownProfile(m_context);
  setVisible(run != nullptr && !run->instruments.empty());
  if (isHidden()) return;
  const std::vector<InstrumentRow> rows = lastInstruments(run->instruments);
  const bool measured = isReady(rows, Instrument::Counters);
  QStringList lines;
  for (const InstrumentRow &row : rows) {
    const QString source = row.source.empty() ? QString::fromStdString(row.state) : QString::fromStdString(row.source);
    lines << tr("%1 (%2): %3").arg(instrumentTitle(row.instrument), source, QString::fromStdString(row.sentence));
    if (row.dropped > 0) lines.back() += tr(" %1 records were dropped.").arg(row.dropped);
  }
  m_badge->setText(measured ? tr("● measured") : tr("○ counted"));
  m_badge->setToolTip(lines.join(u'\n'));
  m_badge->setAccessibleName(measured ? tr("Bytes of the shown profile are measured")
                                      : tr("Bytes of the shown profile are counted, not measured"));
  m_badge->setAccessibleDescription(lines.join(u' '));
  const Theme::Colors &colors = Theme::current().colors();
  m_badge->setStyleSheet(QStringLiteral("QToolButton { color: %1; }").arg((measured ? colors.good : colors.warning).name()));
}

} // namespace xqs
