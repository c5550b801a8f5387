// SPDX-License-Identifier: Apache-2.0
#include "run/serve_study.h"

#include "run/study_plan.h"
#include "run/study_runner.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <limits>

namespace xqs {

namespace {

using nlohmann::json;

constexpr std::size_t kMostListed = 2000; ///< policies that an estimate names one by one

std::string text(const json &arguments, const char *key, const std::string &otherwise = {}) {
  const auto found = arguments.find(key);
  if (found == arguments.end()) return otherwise;
  if (!found->is_string()) throw Error(Code::Usage, fmt::format("study: '{}' must be a text", key));
  return found->get<std::string>();
}

struct Request {
  Study study;
  StudyPart part;
};

Request request(const StudyService &service, const json &arguments) {
  const std::string source = text(arguments, "study");
  if (source.empty())
    throw Error(Code::Usage, "study: 'study' is missing; give its JSON text or the name of a built-in one");
  const std::vector<std::string> names = Study::builtInNames();
  const bool builtIn = std::find(names.begin(), names.end(), source) != names.end();
  Request r{builtIn ? Study::builtIn(source) : Study::parse(source, text(arguments, "name", "study")), {}};
  r.part.autoBackend = service.session.options().backend;
  r.part.store = text(arguments, "store", service.store.file().string());
  return r;
}

/// Sums over runs, beside the list of them.
void addTotals(json &event, const std::vector<PlannedRun> &runs) {
  Index points = 0, missing = 0;
  std::size_t listed = 0, leftOut = 0;
  double smallest = std::numeric_limits<double>::infinity(), largest = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    json &run = event["runs"][i];
    points += static_cast<Index>(runs[i].part.policies.size()) * runs[i].windows;
    for (const json &policy : run["policies"]) {
      missing += policy["missing_windows"].get<Index>();
      smallest = std::min(smallest, policy["relative_size"].get<double>());
      largest = std::max(largest, policy["relative_size"].get<double>());
    }
    const std::size_t count = run["policies"].size(), kept = std::min(count, kMostListed - std::min(listed, kMostListed));
    run["policies"].erase(run["policies"].begin() + static_cast<std::ptrdiff_t>(kept), run["policies"].end());
    listed += kept, leftOut += count - kept;
  }
  event["points"] = points, event["missing"] = missing, event["policies_left_out"] = leftOut;
  event["relative_size"] = largest > 0 ? json{smallest, largest} : json::array();
}

/// Text and calibration of the open session as they were, however the study ends.
class KeepSources {
public:
  explicit KeepSources(Session &session) : m_session(session), m_before(session.options()) {}
  bool unchanged() const {
    return m_session.options().text == m_before.text && m_session.options().calibration == m_before.calibration;
  }
  ~KeepSources() {
    try {
      m_session.setText(m_before.text);
      m_session.setCalibration(m_before.calibration);
    } catch (const Error &) { // a file that is gone: the next `open` says so
    }
  }

private:
  Session &m_session;
  SessionOptions m_before;
};

std::string problemText(const std::vector<std::string> &problems) {
  if (problems.empty()) return {};
  return problems.size() == 1
             ? problems.front()
             : fmt::format("{} settings could not be measured; the first: {}", problems.size(), problems.front());
}

} // namespace

void serveEstimate(const StudyService &service, const json &arguments) {
  const json tag = arguments.value("tag", json());
  try {
    const Request r = request(service, arguments);
    service.store.flush();
    const std::vector<PlannedRun> runs = planStudy(r.study, r.part);
    json event = planJson(r.study, runs, estimateTime(runs, r.part.store, service.backends));
    event["event"] = "estimate", event["tag"] = tag;
    addTotals(event, runs);
    service.send(event);
  } catch (const Error &error) {
    if (error.code() == Code::StoreUnwritable) throw;
    service.send({{"event", "estimate-failed"}, {"tag", tag}, {"message", error.what()}});
  }
}

RunEvents::End serveStudy(const StudyService &service, const json &arguments, std::stop_token stop) {
  const Request r = request(service, arguments);
  service.store.flush();
  const std::vector<PlannedRun> runs = planStudy(r.study, r.part);
  std::unique_ptr<RunStore> other;
  if (r.part.store != service.store.file()) other = std::make_unique<RunStore>(r.part.store);
  KeepSources keep(service.session);
  StudySessions sessions(service.backends, &service.session);
  RunEvents events(service.send);
  StudyHooks hooks;
  hooks.stop = std::move(stop);
  hooks.started = [&](RowId id) { events.started(id); };
  hooks.progress = [&](const StudyProgress &p) { events.progress(p.fraction, 1, p.tokensPerSecond, p.secondsLeft, p.text); };
  hooks.between = [&](const Session &session) { service.between(&session == &service.session && keep.unchanged()); };
  const auto compute = [&]() -> RunEvents::End {
    const StudyOutcome outcome = runPlanned(r.study, runs, other ? *other : service.store, sessions, hooks);
    if (other) other->close();
    const bool failed = outcome.points == 0 && !outcome.problems.empty();
    return {failed ? "failed" : "finished", problemText(outcome.problems)};
  };
  return events.tell(compute, false);
}

} // namespace xqs
