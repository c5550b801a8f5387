// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "views/view.h"

class QComboBox;

namespace xqs {

/// Which policy and point of a profile the views show: two boxes that set the shared selection.
class ProfileChooser : public QWidget {
  Q_OBJECT
public:
  ProfileChooser(const ViewContext &context, QWidget *parent = nullptr);
  /// Lists what the run has; null: nothing.
  void show(const RunData::Run *run);

private:
  ViewContext m_context;
  QComboBox *m_policy = nullptr, *m_point = nullptr;
};

/// A box that takes little room and shows what is chosen in a tooltip too.
QComboBox *makeChoice(const QString &name, const QString &toolTip, QWidget *parent);
/// Fills a box where its texts differ and chooses an entry by its data. Emits nothing.
void fillChoice(QComboBox &box, const QStringList &texts, const QVariantList &data, const QVariant &chosen);

} // namespace xqs
