// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "analysis/generation.h"
#include "models/run_data.h"

#include <QFrame>

class QLabel;
class QTextEdit;
class QToolButton;

namespace xqs {

class GrowthChart;

/// One column of a side-by-side generation: whose text it is, how its cache grows, where it parts from the exact model, and
/// the text itself as it comes, the first token that is another one marked.
class GenerationColumnPanel : public QFrame {
  Q_OBJECT
public:
  explicit GenerationColumnPanel(QWidget *parent = nullptr);

  /// What is the same for all tokens.
  struct Frame {
    QString policy; ///< canonical; empty: the exact model
    bool finished = false;
    std::int64_t lastTokens = 0; ///< in the cache at the chart's end: the same in all columns, so that heights compare
  };
  /// Another run or policy: everything anew.
  void clear();
  void showColumn(const Frame &frame, const GenerationColumn &column);
  QString text() const;
  QString verdict() const; ///< what is said of the divergence

private:
  void showHead(const Frame &frame, const GenerationColumn &column);
  void showDivergence(const Frame &frame, const GenerationColumn &column);
  void showGrowth(const Frame &frame, const GenerationColumn &column);
  void appendText(const Frame &frame, const GenerationColumn &column);
  void goToMark();

  QLabel *m_swatch = nullptr, *m_title = nullptr, *m_size = nullptr, *m_noise = nullptr;
  QToolButton *m_divergence = nullptr;
  GrowthChart *m_chart = nullptr;
  QTextEdit *m_text = nullptr;
  std::size_t m_shown = 0;    ///< tokens in m_text
  int m_mark = -1;            ///< position of the first other token in m_text; -1: none
  bool m_markPending = false; ///< it had no characters: the next one with some is marked
};

} // namespace xqs
