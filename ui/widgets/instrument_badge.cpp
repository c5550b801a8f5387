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

/// Whether counters have told the bytes of a step; a run without a step does not know yet.
enum class Bytes : std::uint8_t { Unknown, Counted, Measured };
Bytes bytesOf(const RunData::Run &run) {
  if (run.steps.empty()) return Bytes::Unknown;
  const bool measured = std::ranges::any_of(run.steps, [](const StepRow &row) { return !std::isnan(row.measuredRead); });
  return measured ? Bytes::Measured : Bytes::Counted;
}

struct Badge {
  QString text, meaning;
  QColor color;
};
Badge badgeOf(Bytes bytes) {
  const Theme::Colors &colors = Theme::current().colors();
  switch (bytes) {
  case Bytes::Measured:
    return {InstrumentBadge::tr("● measured"), InstrumentBadge::tr("Bytes of the shown profile are measured"), colors.good};
  case Bytes::Counted:
    return {InstrumentBadge::tr("○ counted"), InstrumentBadge::tr("Bytes of the shown profile are counted, not measured"),
            colors.warning};
  case Bytes::Unknown: break;
  }
  return {InstrumentBadge::tr("instruments"), InstrumentBadge::tr("What the shown profile can measure"), colors.text};
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
  const Badge badge = badgeOf(bytesOf(*run));
  m_badge->setText(badge.text);
  m_badge->setToolTip(badge.meaning + QStringLiteral(".\n") + lines.join(u'\n'));
  m_badge->setAccessibleName(badge.meaning);
  m_badge->setAccessibleDescription(lines.join(u' '));
  m_badge->setStyleSheet(QStringLiteral("QToolButton { color: %1; }").arg(badge.color.name()));
}

} // namespace xqs
