// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/ledger_panel.h"

#include "cache/layout.h"
#include "error.h"
#include "theme.h"
#include "widgets/size_bar.h"

#include <QFormLayout>
#include <QLabel>
#include <QLocale>
#include <QVBoxLayout>

namespace xqs {

namespace {

QString exactBytes(Index bytes) {
  return QLocale(QLocale::English).toString(static_cast<qlonglong>(bytes)) + QStringLiteral(" B");
}
Index toBytes(Index bits) { return (bits + 7) / 8; }

} // namespace

LedgerPanel::LedgerPanel(QWidget *parent) : QWidget(parent), m_heading(new QLabel(this)), m_bar(new SizeBar(this)) {
  m_heading->setWordWrap(true);
  m_heading->setObjectName(QStringLiteral("ledgerHeading"));
  m_form = new QFormLayout;
  m_form->setContentsMargins(0, 0, 0, 0);
  m_form->setVerticalSpacing(2);
  m_form->setFieldGrowthPolicy(QFormLayout::AllNonFixedFieldsGrow);
  auto *column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->addWidget(m_heading);
  column->addWidget(m_bar);
  column->addLayout(m_form);
  setUpRows();
  clear(tr("Sizes appear when a model or a run is open."));
}

void LedgerPanel::setUpRows() {
  m_codes = addRow("codes", tr("Codes"), tr("Packed codes, and K, V or X that are stored as FP16 by the method itself"));
  m_scales = addRow("scales", tr("Scales and zeros"), tr("FP16 scale and zero point of every group"));
  m_outliers = addRow("outliers", tr("Outlier channels"), tr("Channels that stay FP16"));
  m_residual = addRow("residual", tr("Residual tokens"), tr("Tokens that do not fill a group yet and stay FP16"));
  m_format = addRow("format", tr("Cache size"), tr("Sum of the parts above: what the method's arithmetic says"));
  m_allocated = addRow("allocated", tr("Allocated"), tr("What the memory of the cache really takes, padding included"));
  m_bits = addRow("bits", tr("Bits per element"), tr("Cache size over the elements of K and V: 16 is FP16"));
  m_relative = addRow("relative", tr("Relative size"), tr("Cache size over the model's own FP16 K and V"));
  m_relativeMha = addRow("relativeMha", tr("… as if MHA"),
                         tr("The same if the model had as many K, V heads as query heads: what the published tables print"));
  m_accumulator = addRow("accumulator", tr("Accumulator (apart)"),
                         tr("Working memory of the cross-layer sum; not part of the cache size"));
  m_scratch =
      addRow("scratch", tr("Step scratch (apart)"), tr("FP16 rows of the step in progress; not part of the cache size"));
  QFont bold = m_format->font();
  bold.setBold(true);
  m_format->setFont(bold);
  m_relative->setFont(bold);
}

QLabel *LedgerPanel::addRow(const char *name, const QString &title, const QString &toolTip) {
  auto *label = new QLabel(title, this);
  auto *value = new QLabel(this);
  value->setObjectName(QLatin1String(name));
  value->setAccessibleName(title);
  value->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
  value->setTextInteractionFlags(Qt::TextSelectableByMouse);
  label->setToolTip(toolTip);
  value->setToolTip(toolTip);
  m_form->addRow(label, value);
  return value;
}

void LedgerPanel::setValue(QLabel *label, Index bytes) {
  label->setText(exactBytes(bytes));
  label->setForegroundRole(bytes == 0 ? QPalette::PlaceholderText : QPalette::WindowText);
}

QString LedgerPanel::showPolicy(const PolicySpec &policy, const ModelShape &shape, const QString &model, Index tokens,
                                State state) {
  try {
    const CacheBytes bytes = footprint(policy, shape, tokens, state);
    const Index fp16 = fp16KvBytes(shape, tokens);
    const double relative = relativeSize(policy, shape, tokens, state);
    m_heading->setText(
        tr("One window of %1 tokens on %2 — computed").arg(tokens).arg(model.isEmpty() ? tr("this model") : model));
    m_bar->setSizes(bytes, fp16, methodColor(QString::fromStdString(policy.method().name)));
    setValue(m_codes, toBytes(bytes.codes));
    setValue(m_scales, toBytes(bytes.scales));
    setValue(m_outliers, toBytes(bytes.outliers));
    setValue(m_residual, toBytes(bytes.residual));
    setValue(m_format, bytes.formatBytes());
    setValue(m_allocated, bytes.allocated);
    setValue(m_accumulator, bytes.accumulator);
    setValue(m_scratch, bytes.scratch);
    m_bits->setText(QString::number(16 * relative, 'f', 3));
    m_relative->setText(QString::number(relative, 'f', 4));
    m_relativeMha->setText(QString::number(relativeSizeMha(policy, shape, tokens, state), 'f', 4));
    return {};
  } catch (const Error &error) {
    const QString sentence = QString::fromStdString(error.what());
    clear(tr("No size: the setting does not fit %1.").arg(model.isEmpty() ? tr("this model") : model));
    return sentence;
  }
}

void LedgerPanel::clear(const QString &why) {
  m_heading->setText(why);
  m_bar->setSizes({}, 0, {});
  for (QLabel *label : {m_codes, m_scales, m_outliers, m_residual, m_format, m_allocated, m_bits, m_relative, m_relativeMha,
                        m_accumulator, m_scratch})
    label->setText(QStringLiteral("–"));
}

} // namespace xqs
