// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "views/view.h"

class QToolButton;

namespace xqs {

/// In the status bar: whether the shown profile's bytes are measured or only counted, and what each instrument says. Hidden
/// without a profile.
class InstrumentBadge : public QWidget {
  Q_OBJECT
public:
  InstrumentBadge(const ViewContext &context, QWidget *parent = nullptr);

Q_SIGNALS:
  void clicked();

private:
  void showState();
  ViewContext m_context;
  QToolButton *m_badge = nullptr;
};

} // namespace xqs
