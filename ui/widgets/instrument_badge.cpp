// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/instrument_badge.h"

#include "analysis/traffic.h"
#include "theme.h"
#include "views/profile_lookup.h"

#include <QHBoxLayout>
#include <QToolButton>

#include <algorithm>
#include <cmath>

namespace xqs {

namespace {

QString instrumentTitle(const std::string &name) {
  if (name == "timeline") return InstrumentBadge::tr("Timeline");
  if (name == "counters") return InstrumentBadge::tr("Counters");
  if (name == "sampling") return InstrumentBadge::tr("Sampling");
  return QString::fromStdString(name);
}

struct Badge {
  QString text, meaning;
  QColor color;
};

/// Whether counters have told the bytes of all steps, of some or of none; a run without a step does not know yet.
Badge badgeOf(const RunData::Run &run) {
  const Theme::Colors &colors = Theme::current().colors();
  const auto all = std::ssize(run.steps);
  const auto measured = std::ranges::count_if(run.steps, [](const StepRow &row) { return !std::isnan(row.measuredRead); });
  if (all == 0)
    return {InstrumentBadge::tr("instruments"), InstrumentBadge::tr("What the shown profile can measure"), colors.text};
  if (measured == all)
    return {InstrumentBadge::tr("● measured"), InstrumentBadge::tr("Bytes of the shown profile are measured"), colors.good};
  if (measured == 0)
    return {InstrumentBadge::tr("○ counted"), InstrumentBadge::tr("Bytes of the shown profile are counted, not measured"),
            colors.warning};
  return {InstrumentBadge::tr("◐ %1 of %2 measured").arg(measured).arg(all),
          InstrumentBadge::tr("Bytes of %1 of the shown profile's %2 steps are measured, those of the others counted")
              .arg(measured)
              .arg(all),
          colors.warning};
}

} // namespace

InstrumentBadge::InstrumentBadge(const ViewContext &context, QWidget *parent) : QWidget(parent), m_context(context) {
  m_badge = new QToolButton(this);
  m_badge->setObjectName(QStringLiteral("instruments"));
  m_badge->setAutoRaise(true);
  auto *row = new QHBoxLayout(this);
  row->setContentsMargins(0, 0, 0, 0);
  row->addWidget(m_badge);
  connect(m_badge, &QToolButton::clicked, this, &InstrumentBadge::clicked);
  connect(context.data, &RunData::changed, this, &InstrumentBadge::showState);
  connect(context.selection, &Selection::changed, this, &InstrumentBadge::showState);
  connect(&Theme::current(), &Theme::changed, this, &InstrumentBadge::showState);
  showState();
}

void InstrumentBadge::showState() {
  const RunData::Run *run = shownProfile(m_context);
  setVisible(run != nullptr && !run->instruments.empty());
  if (isHidden()) return;
  QStringList lines;
  for (const InstrumentRow &row : lastInstruments(run->instruments)) {
    const QString source = QString::fromStdString(row.source.empty() ? row.state : row.source);
    lines << tr("%1 (%2): %3").arg(instrumentTitle(row.instrument), source, QString::fromStdString(row.sentence));
    if (row.dropped > 0) lines.back() += tr(" %1 records were dropped.").arg(row.dropped);
  }
  const Badge badge = badgeOf(*run);
  m_badge->setText(badge.text);
  m_badge->setToolTip(badge.meaning + QStringLiteral(".\n") + lines.join(u'\n'));
  m_badge->setAccessibleName(badge.meaning);
  m_badge->setAccessibleDescription(lines.join(u' '));
  m_badge->setStyleSheet(QStringLiteral("QToolButton { color: %1; }").arg(badge.color.name()));
}

} // namespace xqs
