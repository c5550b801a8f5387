// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "run/profile.h"
#include "run/profile_point.h"

#include <chrono>
#include <exception>
#include <optional>
#include <string>
#include <vector>

namespace xqs {

inline constexpr const char *kProfileStopped = "stopped before the end; points that were finished are in the store";

/// One profile in progress: measures point after point and appends it.
class ProfilePass {
public:
  /// All references must outlive this; `result` has its run.
  ProfilePass(const ProfileTarget &target, const ProfileRequest &request, RunStore &store, const ProfileHooks &hooks,
              ProfileResult &result)
      : m_model(target.model), m_calibration(target.calibration), m_request(request), m_store(store), m_hooks(hooks),
        m_result(result) {}

  /// Throws Cancelled and what went wrong.
  void execute();
  /// What instruments have dropped, or say now, where they have or do.
  void endInstruments();

private:
  struct Place {
    std::int64_t policy = 0; ///< index
    Index context = 0, batch = 1;
  };
  /// A point that fits.
  struct Checked {
    DecodePoint point;
    Index weightBytes = 0; ///< of model and maps
  };
  void begin();
  void describePolicies();
  void tryPoint(const Place &place);
  template <class Work> void attempt(const Place &place, const std::string &what, const Work &work);
  PointRows measure(const Place &place);
  void keep(PointRows point);
  double timeFirstPoint(const char *when);
  void checkDrift();
  Checked checkedPoint(const Place &place) const; ///< throws where it does not fit
  const PolicySpec &policyOf(const Place &place) const { return m_request.policies[static_cast<std::size_t>(place.policy)]; }
  std::string nameOf(const Place &place) const;
  void report(const std::string &text);
  void problem(std::int64_t policy, const char *code, const std::string &text);
  template <class Row> void add(Row row, std::vector<Row> &to);
  void commit();

  const Model &m_model;
  Calibration &m_calibration;
  const ProfileRequest &m_request;
  RunStore &m_store;
  const ProfileHooks &m_hooks;
  ProfileResult &m_result;
  std::optional<ProfileInstruments> m_instruments;
  std::vector<bool> m_fits; ///< policies whose settings fit the model
  std::vector<Record> m_rows;
  std::exception_ptr m_firstFailure;
  double m_untouched = 0; ///< seconds of a step of the first point, before instruments were asked
  Index m_done = 0, m_total = 0;
  std::chrono::steady_clock::time_point m_started = std::chrono::steady_clock::now();
};

} // namespace xqs
