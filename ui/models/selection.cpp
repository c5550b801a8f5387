// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/run_data.h"

#include <utility>

namespace xqs {

template <class T> void Selection::set(T &member, T value) {
  if (value == member) return;
  member = std::move(value);
  Q_EMIT changed();
}

void Selection::setRuns(std::vector<RunData::Key> runs) { set(m_runs, std::move(runs)); }
void Selection::setLayer(int layer) { set(m_layer, layer); }
void Selection::setSite(const QString &site) { set(m_site, site); }
void Selection::setPolicy(const QString &policy) { set(m_policy, policy); }
void Selection::setPoint(ProfilePoint point) { set(m_point, point); }
void Selection::setMachine(const QString &id) { set(m_machine, id); }
void Selection::setModel(const QString &name) { set(m_model, name); }

} // namespace xqs
