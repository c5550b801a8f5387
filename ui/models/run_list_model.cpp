// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/run_list_model.h"

#include <QDateTime>
#include <QFileInfo>

#include <algorithm>

namespace xqs {

namespace {

QString kindTitle(const std::string &kind) {
  if (kind == "eval") return RunListModel::tr("Perplexity");
  if (kind == "layers") return RunListModel::tr("Layer errors");
  if (kind == "generate") return RunListModel::tr("Generation");
  if (kind == "profile") return RunListModel::tr("Profile");
  return QString::fromStdString(kind);
}

QString localTime(const std::string &utc) {
  const QDateTime time = QDateTime::fromString(QString::fromStdString(utc), Qt::ISODate);
  return time.isValid() ? time.toLocalTime().toString(QStringLiteral("yyyy-MM-dd HH:mm")) : QString::fromStdString(utc);
}

QString statusTitle(const QString &status) {
  if (status == QLatin1String("finished")) return RunListModel::tr("finished");
  if (status == QLatin1String("cancelled")) return RunListModel::tr("cancelled");
  if (status == QLatin1String("failed")) return RunListModel::tr("failed");
  if (status == QLatin1String("running")) return RunListModel::tr("running");
  if (status == QLatin1String("crashed")) return RunListModel::tr("crashed");
  return status;
}

std::vector<RunListModel::Column> columns() {
  using Row = RunListRow;
  return {
      {RunListModel::tr("Run"), RunListModel::tr("Model, text and protocol"), [](const Row &r) { return r.title; }, {}, {}},
      {RunListModel::tr("Kind"),
       RunListModel::tr("Perplexity: every layer gets what the layers before it rebuilt (closed loop). "
                        "Layer errors: every layer gets the exact input (open loop). "
                        "Generation: text drawn token by token. Profile: where the time and the bytes of decoding steps go. "
                        "A double click shows a run."),
       [](const Row &r) { return r.kind; },
       {},
       {}},
      {RunListModel::tr("Status"), {}, [](const Row &r) { return r.status; }, {}, {}},
      {RunListModel::tr("Started"), RunListModel::tr("Local time"), [](const Row &r) { return r.started; }, {}, {}},
      {RunListModel::tr("File"),
       {},
       [](const Row &r) { return QFileInfo(r.file).fileName(); },
       {},
       [](const Row &r) { return r.file; }},
  };
}

} // namespace

QString runStatus(const RunData &data, const RunData::Run &run) {
  if (!run.ends.empty()) return QString::fromStdString(run.ends.back().status);
  return data.crashed(run.key) ? QStringLiteral("crashed") : QStringLiteral("running");
}

RunListModel::RunListModel(const RunData &data, QObject *parent) : TableModel(columns(), parent), m_data(data) {
  connect(&data, &RunData::changed, this, &RunListModel::rebuild);
  rebuild();
}

int RunListModel::rowOf(RunData::Key key) const {
  const auto found = std::find_if(rows().begin(), rows().end(), [key](const RunListRow &r) { return r.key == key; });
  return found == rows().end() ? -1 : static_cast<int>(found - rows().begin());
}

void RunListModel::rebuild() {
  const QStringList files = m_data.files();
  std::vector<RunListRow> list;
  for (const RunData::Run *run : m_data.runs()) {
    if (run->row.kind == "preview") continue;
    list.push_back({run->key, QString::fromStdString(run->row.title), kindTitle(run->row.kind),
                    run->recorded ? tr("recorded") : statusTitle(runStatus(m_data, *run)), localTime(run->row.startedUtc),
                    files.value(run->key.file)});
  }
  setRows(std::move(list));
}

} // namespace xqs
