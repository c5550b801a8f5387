// SPDX-License-Identifier: Apache-2.0
#include "run/run_events.h"

#include "run/memory_fit.h"

#include <exception>
#include <new>

namespace xqs {

void RunEvents::started(RowId run) {
  m_run = run;
  m_send({{"event", "run-started"}, {"run", run}});
}

void RunEvents::progress(const nlohmann::json &done, const nlohmann::json &total, double tokensPerSecond, double secondsLeft,
                         const std::string &text) const {
  m_send({{"event", "progress"},
          {"run", m_run},
          {"done", done},
          {"total", total},
          {"tokens_per_second", tokensPerSecond},
          {"seconds_left", secondsLeft},
          {"text", text}});
}

void RunEvents::ended(const End &end) const {
  m_send({{"event", "run-ended"},
          {"run", m_run},
          {"status", end.status},
          {"message", end.message},
          {"code", end.code ? nlohmann::json(errorName(*end.code)) : nlohmann::json()}});
}

RunEvents::End RunEvents::tell(const std::function<End()> &compute, bool throwUnstarted) const {
  End end;
  try {
    end = compute();
  } catch (const Error &error) {
    if (throwUnstarted && m_run == 0) throw;
    end = {error.code() == Code::Cancelled ? "cancelled" : "failed", error.what(), error.code(),
           dynamic_cast<const MemoryRefusal *>(&error) != nullptr};
  } catch (const std::bad_alloc &) {
    end = {"failed", "not enough memory; use a shorter window, fewer lanes or a smaller model", Code::OutOfMemory};
  } catch (const std::exception &error) {
    end = {"failed", error.what(), Code::Internal};
  }
  ended(end);
  return end;
}

} // namespace xqs
