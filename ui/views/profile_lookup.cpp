// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/profile_lookup.h"

#include "models/run_list_model.h"
#include "views/run_lookup.h"

#include <QCoreApplication>
#include <QJsonDocument>
#include <QJsonObject>

#include <algorithm>
#include <cmath>
#include <ranges>
#include <set>

namespace xqs {

namespace {

QString tr(const char *text) { return QCoreApplication::translate("ProfileLookup", text); }

bool isProfile(const RunData::Run &run) { return run.row.kind == "profile"; }

/// Of the runs that are wanted, the first selected one, else the latest.
template <class Wanted> const RunData::Run *firstOrLatest(const ViewContext &context, const Wanted &wanted) {
  for (const RunData::Key &key : context.selection->runs())
    if (const RunData::Run *run = context.data->find(key); run && wanted(*run)) return run;
  const RunData::Run *latest = nullptr;
  for (const RunData::Run *run : context.data->runs())
    if (wanted(*run)) latest = run;
  return latest;
}

/// What the run's request says of a key (ProfileRequest, GenerationRequest); one that it does not hold is what
/// `otherwise` says.
bool askedFor(const RunData::Run &run, const char *key, bool otherwise = true) {
  const QJsonValue value =
      QJsonDocument::fromJson(QByteArray::fromStdString(run.row.spec)).object().value(QLatin1String(key));
  return value.isBool() ? value.toBool() : value.toInt(otherwise ? 1 : 0) > 0;
}

/// Counters gave figures, but not of the memory: of a processor whose memory controllers cannot be read.
bool countsNoMemory(const RunData::Run &run) {
  return std::ranges::any_of(run.traffic, [](const TrafficRow &row) {
    return std::isnan(row.measuredRead) && !(std::isnan(row.cacheAccesses) && std::isnan(row.cycles));
  });
}

} // namespace

const RunData::Run *shownProfile(const ViewContext &context) { return firstOrLatest(context, isProfile); }

const RunData::Run *shownThroughput(const ViewContext &context) {
  return firstOrLatest(context, [](const RunData::Run &run) {
    return isProfile(run) || (run.row.kind == "generate" && findInstrument(run, "sampling") != nullptr);
  });
}

std::vector<ProfilePoint> profilePoints(const RunData::Run &run) {
  std::set<ProfilePoint> points;
  for (const StepRow &row : run.steps) points.insert({row.context, row.batch});
  ProfilePoint last; // thousands of rows follow each other at one point
  for (const KernelRow &row : run.kernels)
    if (const ProfilePoint point{row.context, row.batch}; point != last) points.insert(last = point);
  return {points.begin(), points.end()};
}

ProfilePoint shownPoint(const ViewContext &context, const RunData::Run &run) {
  const std::vector<ProfilePoint> points = profilePoints(run);
  if (points.empty()) return {};
  return std::ranges::find(points, context.selection->point()) != points.end() ? context.selection->point() : points.front();
}

const PolicyRow *shownProfilePolicy(const ViewContext &context, const RunData::Run &run) {
  if (const PolicyRow *selected = findPolicy(run, context.selection->policy().toStdString())) return selected;
  return run.policies.empty() ? nullptr : &run.policies.front();
}

QString pointTitle(ProfilePoint point) { return tr("%1 tokens · batch %2").arg(point.context).arg(point.batch); }

const StepRow *findStep(const RunData::Run &run, std::int64_t policy, ProfilePoint point) {
  const StepRow *result = nullptr;
  for (const StepRow &row : run.steps)
    if (row.policy == policy && row.context == point.context && row.batch == point.batch) result = &row;
  return result;
}

const InstrumentRow *findInstrument(const RunData::Run &run, std::string_view instrument) {
  const InstrumentRow *result = nullptr;
  for (const InstrumentRow &row : run.instruments)
    if (row.instrument == instrument) result = &row;
  return result;
}

QString noProfileText() {
  return tr("No profile yet.\nRun > Profile decoding… records one; File > Open shows a finished one.");
}

QString instrumentSentence(const RunData::Run &run, std::string_view instrument) {
  const InstrumentRow *row = findInstrument(run, instrument);
  if (row == nullptr)
    return run.ends.empty() ? tr("The run has not said yet what it can measure.")
                            : tr("The run was over before it said what it can measure.");
  QString sentence = QString::fromStdString(row->sentence);
  if (!sentence.endsWith(u'.')) sentence += u'.';
  const QString source = QString::fromStdString(row->source);
  return source.isEmpty() ? sentence : tr("%1: %2").arg(source, sentence);
}

QString lossOf(const RunData::Run &run, std::string_view instrument) {
  const bool counters = instrument == "counters";
  for (const ProblemRow &problem : run.problems | std::views::reverse) {
    const std::string doing = problem.text.substr(0, problem.text.find(" failed"));
    const bool lost = problem.code == "instrument-lost" && doing.find(counters ? "count" : "sampling") != std::string::npos;
    if (lost || (counters && problem.code == "ranges-dropped")) return QString::fromStdString(problem.text);
  }
  return {};
}

QString whyNotMeasured(const RunData::Run &run, std::string_view instrument) {
  const bool counters = instrument == "counters";
  if (!askedFor(run, counters ? "counters" : "sampling_us"))
    return counters ? tr("not asked for; tick “measured bytes” in the form of the next profile.")
                    : tr("not asked for; set a time between samples in the form of the next profile.");
  const InstrumentRow *row = findInstrument(run, instrument);
  if (row == nullptr || row->state != "ready" || (counters && countsNoMemory(run)))
    return instrumentSentence(run, instrument);
  if (const QString loss = lossOf(run, instrument); !loss.isEmpty()) return loss;
  if (run.ends.empty()) return tr("no measured figures have come yet.");
  return isProfile(run) ? tr("the run has recorded none; profile this point again.")
                        : tr("the text was over before the first sample; draw more tokens.");
}

QString microscopeProblem(const RunData::Run &run, std::int64_t policy, ProfilePoint point) {
  const QString place = QStringLiteral("%1 tokens x %2:").arg(point.context).arg(point.batch);
  for (const ProblemRow &problem : run.problems) {
    const QString text = QString::fromStdString(problem.text);
    const bool here = problem.policy == policy && text.startsWith(place);
    if (problem.code == "microscope-lost" || (here && problem.code.starts_with("kernels-"))) return text;
  }
  return {};
}

QString whyNotMagnified(const RunData::Run &run, std::int64_t policy, ProfilePoint point) {
  if (!askedFor(run, "microscope", false)) return tr("not asked for; tick “Microscope” in the form of the next profile.");
  const InstrumentRow *row = findInstrument(run, "counters");
  if (row == nullptr || row->state != "ready") return instrumentSentence(run, "counters");
  if (const QString problem = microscopeProblem(run, policy, point); !problem.isEmpty()) return problem;
  if (const QString loss = lossOf(run, "counters"); !loss.isEmpty()) return loss;
  return tr("the run has recorded none; profile this point again.");
}

QString nothingRecorded(const ViewContext &context, const RunData::Run &run, const QString &yet) {
  const QString status = runStatus(*context.data, run);
  if (status == QLatin1String("running")) return yet;
  const QString why = run.ends.empty() ? QString() : QString::fromStdString(run.ends.back().message);
  const QString over = tr("Nothing was recorded here, and the run is over: %1.").arg(status);
  return why.isEmpty() ? over : over + u'\n' + why;
}

bool hasFinished(const RunData::Run &run) { return !run.ends.empty() && run.ends.back().status == "finished"; }

} // namespace xqs
