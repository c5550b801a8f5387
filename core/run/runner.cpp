// SPDX-License-Identifier: Apache-2.0
#include "run/runner.h"

#include "run/machine.h"
#include "run/memory_fit.h"
#include "run/run_pass.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace xqs {

namespace {

/// What is free, with the memory of earlier runs' policies where it is needed.
WindowMemory roomFor(Session &session, const Experiment &experiment, const std::vector<std::size_t> &policies, bool stored) {
  const WindowMemory memory = windowMemory(session, experiment, stored);
  const auto fits = [&](std::size_t i) { return memory.fits(memory.group({&experiment.policies[i], 1})); };
  if (memory.unlimited() || (memory.fits(memory.exact()) && std::all_of(policies.begin(), policies.end(), fits)))
    return memory;
  session.dropMethods();
  return windowMemory(session, experiment, stored);
}

} // namespace

RunResult Runner::run(const RunHooks &hooks) {
  RunResult result;
  const SessionOptions &options = m_session.options(); // what is recorded is what runs
  m_experiment.model = options.model, m_experiment.text = options.text;
  m_experiment.backend = options.backend, m_experiment.threads = options.threads;
  const ModelShape &shape = m_session.model().shape();
  const Index windows = m_session.planWindows(m_experiment.window, m_experiment.firstWindow, m_experiment.windows);
  m_session.setCalibration(m_experiment.calibration);
  const auto check = m_session.inputs().misfitCheck(m_experiment.window, m_experiment.firstWindow, windows);
  const RunPart part = partOf(m_experiment, check, m_plan.study.empty() ? allPolicies(m_experiment) : m_plan.policies,
                              std::move(m_plan.stored));
  if (!part.misfits.empty() && !m_plan.tolerant) throw Error(Code::Usage, part.misfits.front().message);
  for (const std::size_t i : part.policies)
    result.policies.push_back(
        describePolicy(m_experiment.policies[i], shape, m_experiment.window, m_experiment.state, part.indices[i]));
  const WindowMemory memory = roomFor(m_session, m_experiment, part.policies, m_store != nullptr);
  memory.require(memory.exact(), "the exact model");
  if (!m_plan.tolerant)
    for (const std::size_t i : part.policies) memory.require(m_experiment.policies[i]);
  result.run = describeRun(m_session, m_experiment, windows, "eval");
  result.run.study = m_plan.study;
  if (m_store != nullptr && part.stored.id != 0) {
    m_store->continueRun();
    result.run.id = part.stored.id;
  } else if (m_store != nullptr) {
    result.run.id = m_store->beginRun(result.run);
  }
  for (PolicyRow &row : result.policies) row.run = result.run.id;
  if (hooks.started) hooks.started(result.run.id);

  const auto started = std::chrono::steady_clock::now();
  const auto end = [&](const char *status, const std::string &message) {
    if (m_store == nullptr) return;
    RunEndRow row;
    row.run = result.run.id, row.endedUtc = utcNow(), row.status = status, row.message = message;
    row.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    m_store->append(row);
    m_store->flush();
  };
  const auto endAfter = [&](const char *status, const std::string &message) {
    try {
      end(status, message);
    } catch (const Error &) { // the store itself is what failed: the first error is the one to tell
    }
  };
  try {
    RunPass(m_session, m_experiment, part, m_plan.tolerant, memory, m_store, hooks, result).execute();
    end("finished", "");
  } catch (const Error &error) {
    if (error.code() == Code::Cancelled) {
      endAfter("cancelled", kRunStopped);
      throw Error(Code::Cancelled, kRunStopped);
    }
    std::string message = error.what();
    if (isDeviceFault(error.code(), m_session.options().backend) && m_store != nullptr)
      message += "; windows that were finished are in the store";
    endAfter("failed", message);
    throw Error(error.code(), message);
  } catch (const std::bad_alloc &) {
    const std::string message = "not enough memory for this run; use a shorter window, fewer lanes or a smaller model";
    endAfter("failed", message);
    throw Error(Code::OutOfMemory, message);
  } catch (const std::exception &error) {
    endAfter("failed", error.what());
    throw;
  }
  return result;
}

} // namespace xqs
