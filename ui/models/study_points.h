// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "models/table_model.h"

#include <QJsonObject>

namespace xqs {

/// One policy of one run of a study, before it runs.
struct StudyPoint {
  int run = 0;      ///< from 1
  QString runTitle; ///< model, text, windows, state, protocol
  QString policy;   ///< empty: the run itself cannot start
  qint64 bytes = -1;
  double relativeSize = 0;
  int missing = 0, windows = 0;
  QString problem; ///< why it cannot be measured; empty: it can
};

/// What the engine says of a study (`estimate`, core/run/serve_study.h): a row a policy and run.
class StudyPoints : public TableModel<StudyPoint> {
  Q_OBJECT
public:
  explicit StudyPoints(QObject *parent = nullptr);
  void setEstimate(const QJsonObject &estimate);
  void clear();

  int runs() const { return m_runs; }
  qint64 points() const { return m_points; } ///< windows under a policy
  qint64 missing() const { return m_missing; }
  int problems() const { return m_problems; }
  double seconds() const { return m_seconds; }
  const QString &timeSource() const { return m_timeSource; }
  /// "0.13 to 1.00"; empty where nothing can be measured.
  QString relativeSizes() const;
  qint64 leftOut() const { return m_leftOut; } ///< policies that the table does not list

private:
  int m_runs = 0, m_problems = 0;
  qint64 m_points = 0, m_missing = 0, m_leftOut = 0;
  double m_seconds = 0, m_smallest = 0, m_largest = 0;
  QString m_timeSource;
};

} // namespace xqs
