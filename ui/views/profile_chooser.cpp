// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/profile_chooser.h"

#include "views/profile_lookup.h"
#include "views/run_lookup.h"

#include <QComboBox>
#include <QHBoxLayout>
#include <QSignalBlocker>

#include <algorithm>

namespace xqs {

QComboBox *makeChoice(const QString &name, const QString &toolTip, QWidget *parent) {
  auto *box = new QComboBox(parent);
  box->setAccessibleName(name);
  box->setToolTip(toolTip);
  box->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
  box->setMinimumContentsLength(10);
  return box;
}

void fillChoice(QComboBox &box, const QStringList &texts, const QVariantList &data, const QVariant &chosen) {
  const QSignalBlocker quiet(box);
  QStringList there;
  for (int i = 0; i < box.count(); ++i) there << box.itemText(i);
  if (there != texts) {
    box.clear();
    for (int i = 0; i < texts.size(); ++i) {
      box.addItem(texts[i]);
      box.setItemData(i, texts[i], Qt::ToolTipRole);
    }
  }
  for (int i = 0; i < texts.size(); ++i) box.setItemData(i, data[i]);
  box.setCurrentIndex(std::max(0, static_cast<int>(data.indexOf(chosen))));
  box.setEnabled(box.count() > 1);
}

ProfileChooser::ProfileChooser(const ViewContext &context, QWidget *parent) : QWidget(parent), m_context(context) {
  m_policy = makeChoice(tr("Policy"), tr("Whose step is shown; every view follows"), this);
  m_policy->setObjectName(QStringLiteral("policy"));
  m_point = makeChoice(tr("Point"), tr("Tokens in each cache, and sequences a step; every view follows"), this);
  m_point->setObjectName(QStringLiteral("point"));
  auto *row = new QHBoxLayout(this);
  row->setContentsMargins(0, 0, 0, 0);
  row->addWidget(m_policy, 3);
  row->addWidget(m_point, 2);
  connect(m_policy, &QComboBox::currentIndexChanged, this,
          [this] { m_context.selection->setPolicy(m_policy->currentData().toString()); });
  connect(m_point, &QComboBox::currentIndexChanged, this, [this] {
    const QVariantList point = m_point->currentData().toList();
    if (point.size() == 2) m_context.selection->setPoint({point[0].toLongLong(), point[1].toLongLong()});
  });
}

void ProfileChooser::show(const RunData::Run *run) {
  QStringList texts;
  QVariantList values;
  const PolicyRow *chosen = run ? shownProfilePolicy(m_context, *run) : nullptr;
  for (const PolicyRow &policy : run ? run->policies : std::vector<PolicyRow>()) {
    const QString name = QString::fromStdString(policy.policy);
    texts << policyTitle(name);
    values << name;
  }
  fillChoice(*m_policy, texts, values, chosen ? QString::fromStdString(chosen->policy) : QString());
  texts.clear();
  values.clear();
  const auto asVariant = [](ProfilePoint point) {
    return QVariant(QVariantList{static_cast<qlonglong>(point.context), static_cast<qlonglong>(point.batch)});
  };
  for (const ProfilePoint point : run ? profilePoints(*run) : std::vector<ProfilePoint>()) {
    texts << pointTitle(point);
    values << asVariant(point);
  }
  fillChoice(*m_point, texts, values, run ? asVariant(shownPoint(m_context, *run)) : QVariant());
}

} // namespace xqs
