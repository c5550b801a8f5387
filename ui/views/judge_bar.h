// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "views/view.h"

class QComboBox;

namespace xqs {

class JudgeLookup;

/// Which machine, model, context and batch a verdict is about: four boxes that set the shared selection.
class JudgeBar : public QWidget {
  Q_OBJECT
public:
  JudgeBar(const ViewContext &context, QWidget *parent = nullptr);
  /// Lists what there is.
  void show(const JudgeLookup &judged);

private:
  void showPoint(const JudgeLookup &judged);

  ViewContext m_context;
  QComboBox *m_machine = nullptr, *m_model = nullptr, *m_tokens = nullptr, *m_batch = nullptr;
};

} // namespace xqs
