// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/run_data.h"

#include <utility>

namespace xqs {

void Selection::setRuns(std::vector<RunData::Key> runs) {
  if (runs == m_runs) return;
  m_runs = std::move(runs);
  Q_EMIT changed();
}

void Selection::setLayer(int layer) {
  if (layer == m_layer) return;
  m_layer = layer;
  Q_EMIT changed();
}

void Selection::setSite(const QString &site) {
  if (site == m_site) return;
  m_site = site;
  Q_EMIT changed();
}

void Selection::setPolicy(const QString &policy) {
  if (policy == m_policy) return;
  m_policy = policy;
  Q_EMIT changed();
}

void Selection::setPoint(ProfilePoint point) {
  if (point == m_point) return;
  m_point = point;
  Q_EMIT changed();
}

} // namespace xqs
