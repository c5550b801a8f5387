// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/study_draft.h"

#include "error.h"

#include <QCoreApplication>

#include <algorithm>

namespace xqs {

namespace {

using Json = nlohmann::ordered_json;

constexpr int kMostLevels = 16;
/// Keys of an experiment that a grid may vary.
const QStringList kAxes = {QStringLiteral("model"), QStringLiteral("text"), QStringLiteral("window"),
                           QStringLiteral("state"), QStringLiteral("protocol")};
/// Keys of an experiment that the form sets and a grid may not vary.
const QStringList kScalars = {QStringLiteral("windows"), QStringLiteral("captures"), QStringLiteral("noise_floor")};

Json fromText(const QString &text) {
  if (text == QLatin1String("true") || text == QLatin1String("false")) return text == QLatin1String("true");
  bool whole = false;
  const qlonglong number = text.toLongLong(&whole);
  return whole ? Json(number) : Json(text.toStdString());
}

QString toText(const Json &value) {
  return QString::fromStdString(value.is_string() ? value.get<std::string>() : value.dump());
}

QStringList toTexts(const Json &value) {
  QStringList all;
  if (value.is_array())
    for (const Json &one : value) all << toText(one);
  else
    all << toText(value);
  return all;
}

Json list(const QStringList &values) {
  Json all = Json::array();
  for (const QString &value : values) all.push_back(fromText(value));
  return all;
}

std::string pretty(const Json &value, int level) {
  const std::string indent(static_cast<std::size_t>(2 * (level + 1)), ' '), end(static_cast<std::size_t>(2 * level), ' ');
  const bool nested = std::any_of(value.begin(), value.end(), [](const Json &one) { return one.is_structured(); });
  if (value.empty() || !value.is_structured() || (value.is_array() && !nested && value.dump().size() < 100)) {
    std::string line = value.dump();
    if (!value.is_array()) return line;
    line.clear();
    for (const Json &one : value) line += (line.empty() ? "" : ", ") + one.dump();
    return "[" + line + "]";
  }
  std::string text;
  for (const auto &[key, one] : value.items())
    text +=
        (text.empty() ? "" : ",\n") + indent + (value.is_object() ? Json(key).dump() + ": " : "") + pretty(one, level + 1);
  return (value.is_object() ? "{\n" : "[\n") + text + "\n" + end + (value.is_object() ? "}" : "]");
}

void dropIfEmpty(Json &object, const char *key) {
  if (object.contains(key) && object[key].empty()) object.erase(key);
}

} // namespace

QStringList splitList(const QString &text) {
  QStringList parts;
  for (const QString &part : text.split(QLatin1Char(',')))
    if (!part.trimmed().isEmpty()) parts << part.trimmed();
  return parts;
}

StudyDraft::StudyDraft() : m_json(Json::object()) {}

StudyDraft::StudyDraft(const QString &source) {
  bool deep = false; // what is deeper is no study, and would be printed by recursion
  const auto watchDepth = [&deep](int depth, Json::parse_event_t, Json &) {
    deep = deep || depth > kMostLevels;
    return !deep;
  };
  m_json = Json::parse(source.toStdString(), watchDepth, false);
  if (deep || m_json.is_discarded() || !m_json.is_object())
    throw Error(Code::Usage, QCoreApplication::translate("StudyDraft", "The study is not a JSON object.").toStdString());
  if (m_json.contains("base") || m_json.contains("grid") || m_json.contains("isolated")) return;
  Json base = m_json; // an experiment: its keys are a study's base
  Json study = Json::object();
  for (const char *key : {"name", "about", "policies"})
    if (base.contains(key)) {
      study[key] = base[key];
      base.erase(key);
    }
  study["base"] = base;
  m_json = std::move(study);
}

QString StudyDraft::source() const { return QString::fromStdString(pretty(m_json, 0)) + QLatin1Char('\n'); }

QString StudyDraft::text(const char *key) const {
  return m_json.contains(key) && m_json[key].is_string() ? toText(m_json[key]) : QString();
}

QStringList StudyDraft::values(const QString &key) const {
  const std::string name = key.toStdString();
  const auto in = [&](const char *part) {
    return m_json.contains(part) && m_json[part].is_object() && m_json[part].contains(name) ? toTexts(m_json[part][name])
                                                                                            : QStringList();
  };
  if (name == "policies") return m_json.contains(name) ? toTexts(m_json[name]) : QStringList();
  const QStringList varied = in("grid");
  return varied.isEmpty() && (kAxes.contains(key) || kScalars.contains(key)) ? in("base") : varied;
}

void StudyDraft::setValues(const QString &key, const QStringList &values) {
  const std::string name = key.toStdString();
  const auto put = [&](const char *part, const Json &value) {
    if (!m_json.contains(part) || !m_json[part].is_object()) m_json[part] = Json::object();
    m_json[part][name] = value;
  };
  const auto remove = [&](const char *part) {
    if (m_json.contains(part) && m_json[part].is_object()) m_json[part].erase(name);
  };
  if (name == "policies") {
    m_json[name] = list(values);
    dropIfEmpty(m_json, "policies");
    return;
  }
  const bool ofExperiment = kAxes.contains(key) || kScalars.contains(key);
  const bool inBase = ofExperiment && values.size() == 1;
  if (!inBase) remove("base");
  if (inBase || values.isEmpty()) remove("grid");
  if (inBase)
    put("base", fromText(values.front()));
  else if (!values.isEmpty())
    put("grid", list(values));
  dropIfEmpty(m_json, "grid");
}

QStringList StudyDraft::parameterKeys() const {
  QStringList keys;
  if (!m_json.contains("grid") || !m_json["grid"].is_object()) return keys;
  for (const auto &[key, value] : m_json["grid"].items())
    if (const QString name = QString::fromStdString(key); name != QLatin1String("policy") && !kAxes.contains(name))
      keys << name;
  return keys;
}

QStringList StudyDraft::otherLists(const QStringList &except) const {
  QStringList lines;
  for (const QString &key : parameterKeys())
    if (!except.contains(key)) lines << key + QStringLiteral(" = ") + values(key).join(QStringLiteral(", "));
  return lines;
}

void StudyDraft::setOtherLists(const QStringList &except, const QStringList &lines) {
  for (const QString &key : parameterKeys())
    if (!except.contains(key)) setValues(key, {});
  for (const QString &line : lines) {
    const QString key = line.section(QLatin1Char('='), 0, 0).trimmed();
    const QStringList all = splitList(line.section(QLatin1Char('='), 1));
    if (!key.isEmpty() && !all.isEmpty() && !except.contains(key)) setValues(key, all);
  }
}

int StudyDraft::isolatedGroups() const {
  if (!m_json.contains("isolated")) return 0;
  return m_json["isolated"].is_array() ? static_cast<int>(m_json["isolated"].size()) : 1;
}

} // namespace xqs
