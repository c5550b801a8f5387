// SPDX-License-Identifier: Apache-2.0
#include "run/profile.h"

#include "engine/seconds.h"
#include "run/machine.h"
#include "run/profile_pass.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <new>

namespace xqs {

namespace {

RunRow describeProfile(const ProfileTarget &target, const ProfileRequest &request) {
  RunRow row = describeModel(target.model, target.threads, "profile");
  const std::string at =
      fmt::format("{} tokens, batch {}", fmt::join(request.contexts, ", "), fmt::join(request.batches, ", "));
  row.title = fmt::format("{}, decoding profiled at {}", row.model, at);
  row.window = request.contexts.back(), row.state = stateName(State::Stream);
  row.seed = static_cast<std::int64_t>(request.seed);
  row.protocol = fmt::format(
      "Caches filled with random rows, as a prefill stores them, at {}; a step is one token of every sequence with its "
      "logits, without sampling. Form of attention: {}; caches in the {}'s memory. {} steps timed with all instruments "
      "off, then one traced and one counted, each a token further on.",
      at, decodeFormName(request.form), placementName(request.placement), request.steps);
  if (request.microscope) row.protocol += " The kernels of the traced step were counted one by one besides.";
  row.spec = toJson(request).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return row;
}

} // namespace

ProfileResult runProfile(const ProfileTarget &target, const ProfileRequest &wanted, RunStore &store,
                         const ProfileHooks &hooks) {
  ProfileRequest request = completeProfile(wanted, target.model.config(), target.model.backend().hostVisible());
  request.backend = target.model.backend().name(), request.threads = target.threads; // what is recorded is what runs
  ProfileResult result;
  result.run = describeProfile(target, request);
  result.run.id = store.beginRun(result.run);
  if (hooks.started) hooks.started(result.run.id);
  const auto started = std::chrono::steady_clock::now();
  ProfilePass pass(target, request, store, hooks, result);
  const auto end = [&](const char *status, const std::string &message) {
    pass.endInstruments();
    RunEndRow row;
    row.run = result.run.id, row.endedUtc = utcNow(), row.status = status, row.message = message;
    row.seconds = secondsSince(started);
    store.append(row);
    store.flush();
  };
  const auto endAfter = [&](const char *status, const std::string &message) {
    try {
      end(status, message);
    } catch (const Error &) { // the store itself is what failed: the first error is the one to tell
    }
  };
  try {
    pass.execute();
    end("finished", "");
  } catch (const Error &error) {
    const bool cancelled = error.code() == Code::Cancelled;
    endAfter(cancelled ? "cancelled" : "failed", cancelled ? kProfileStopped : error.what());
    if (cancelled) throw Error(Code::Cancelled, kProfileStopped);
    throw;
  } catch (const std::bad_alloc &) {
    constexpr const char *kMessage =
        "not enough memory for any point; use shorter contexts, a smaller batch or fewer layers";
    endAfter("failed", kMessage);
    throw Error(Code::OutOfMemory, kMessage);
  } catch (const std::exception &error) {
    endAfter("failed", error.what());
    throw;
  }
  return result;
}

std::unique_ptr<LoadedShape> loadShape(Backend &backend, const ProfileRequest &request, const ProfileHooks &hooks) {
  const auto reader = LoadedShape::open(request.shape, request.layers, request.seed);
  const auto loading = [&](double fraction) {
    if (hooks.progress)
      hooks.progress({0, 1, 0, 0, fmt::format("writing weights of {}, {:.0f} %", request.shape, 100 * fraction)});
  };
  return std::make_unique<LoadedShape>(*reader, request.seed, backend, loading, hooks.stop);
}

ProfileResult profileSession(Session &session, const ProfileRequest &wanted, RunStore &store, const ProfileHooks &hooks) {
  ProfileRequest request = wanted;
  request.model = session.options().model;
  if (request.shape.empty())
    return runProfile({session.model(), session.calibration(), session.threads()}, request, store, hooks);
  const auto shape = loadShape(session.backend(), request, hooks);
  return runProfile({shape->model(), shape->calibration(), session.threads()}, request, store, hooks);
}

} // namespace xqs
