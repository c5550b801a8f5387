// SPDX-License-Identifier: Apache-2.0
#include "run/serve.h"

#include "run/command_queue.h"
#include "run/generation.h"
#include "run/memory_fit.h"
#include "run/preview.h"
#include "run/profile.h"
#include "run/run_events.h"
#include "run/runner.h"
#include "run/serve_study.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <deque>
#include <mutex>
#include <optional>

namespace xqs {

namespace {

using nlohmann::json;

/// One event a line, from any thread.
class EventWriter {
public:
  explicit EventWriter(int fd) : m_fd(fd) {}
  void write(const json &event) {
    const std::string line = event.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    const std::lock_guard lock(m_mutex);
    for (std::size_t done = 0; done < line.size();) {
      const ssize_t count = ::write(m_fd, line.data() + done, line.size() - done);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) throw Error(Code::StoreUnwritable, "nobody reads the engine's events any more");
      done += static_cast<std::size_t>(count);
    }
  }
  void error(Code code, const std::string &message) {
    write({{"event", "error"}, {"code", errorName(code)}, {"message", message}});
  }

private:
  int m_fd;
  std::mutex m_mutex;
};

/// What "open" asks for.
struct OpenRequest {
  SessionOptions session;
  std::string store;
};

OpenRequest openRequest(const json &arguments) {
  OpenRequest request;
  request.session.backend = kAutoBackend;
  for (const auto &[key, value] : arguments.items()) {
    std::string *text = key == "model"         ? &request.session.model
                        : key == "text"        ? &request.session.text
                        : key == "store"       ? &request.store
                        : key == "backend"     ? &request.session.backend
                        : key == "calibration" ? &request.session.calibration.text
                                               : nullptr;
    if (text != nullptr && value.is_string())
      *text = value.get<std::string>();
    else if (key == "threads" && value.is_number_integer())
      request.session.threads = value.get<int>();
    else
      throw Error(Code::Usage,
                  fmt::format("open: '{}' is not understood; it takes texts model, text, calibration, store, backend and a "
                              "whole number threads",
                              key));
  }
  if (request.store.empty()) throw Error(Code::Usage, "open: 'store' is missing; give the .xqs file to write results to");
  return request;
}

class Server {
public:
  Server(std::span<const BackendInfo> backends, int in, int out, std::stop_token stop)
      : m_backends(backends), m_events(out), m_queue(in, [this](const std::string &message) { badLine(message); }),
        m_onStop(std::move(stop), [this] { m_queue.quit(); }) {}

  void loop();

private:
  void handle(const CommandQueue::Command &command);
  void open(const json &arguments, std::stop_token stop);
  void run(const json &arguments, std::stop_token stop);
  void study(const CommandQueue::Command &command);
  void generate(const json &arguments, std::stop_token stop);
  void profile(const json &arguments, std::stop_token stop);
  void tellRun(std::stop_token stop, const std::function<void(const RunHooks &)> &compute);
  void preview(const json &arguments, std::stop_token stop);
  bool isFault(Code code, bool refused) const;
  void ended(const RunEvents::End &end);
  bool warm(std::stop_token stop);
  void requireSession() const;
  void badLine(const std::string &message);

  std::span<const BackendInfo> m_backends;
  EventWriter m_events;
  std::unique_ptr<RunStore> m_store;
  std::unique_ptr<Session> m_session;
  std::string m_backend;              // of the session, or of the one that is being opened
  std::optional<Error> m_fault;       // of the device: this process ends, a new one can compute again
  std::unique_ptr<Preview> m_preview; // uses both
  std::deque<PolicySpec> m_toWarm;    // prepared while idle, so that their previews and runs start at once
  CommandQueue m_queue;
  std::stop_callback<std::function<void()>> m_onStop;
};

void Server::loop() {
  m_events.write({{"event", "hello"}, {"version", XQS_VERSION}, {"backends", backendsToJson(m_backends)}});
  while (const auto command = m_queue.next([this](std::stop_token stop) { return warm(std::move(stop)); })) {
    try {
      handle(*command);
    } catch (const Error &error) {
      if (isFault(error.code(), dynamic_cast<const MemoryRefusal *>(&error) != nullptr))
        m_fault = error;
      else
        m_events.error(error.code(), error.what());
    } catch (const std::bad_alloc &) {
      m_events.error(Code::OutOfMemory, "not enough memory; use a shorter window, fewer lanes or a smaller model");
    }
    if (m_fault) break;
  }
  if (m_fault)
    m_events.write({{"event", "backend-failed"},
                    {"backend", m_backend},
                    {"code", errorName(m_fault->code())},
                    {"message", m_fault->what()}});
  m_preview.reset();
  if (m_store) m_store->close();
  if (m_fault) throw Error(*m_fault);
}

/// A device can go on after a refusal, with something smaller: nothing was taken.
bool Server::isFault(Code code, bool refused) const { return isDeviceFault(code, m_backend) && !refused; }

/// What broke in a run or a study breaks in the next one too.
void Server::ended(const RunEvents::End &end) {
  if (end.code && isFault(*end.code, end.refused)) m_fault.emplace(*end.code, end.message);
}

void Server::handle(const CommandQueue::Command &command) {
  if (command.name == "open") return open(command.arguments, command.stop);
  if (command.name == "run") return run(command.arguments, command.stop);
  if (command.name == "study" || command.name == "estimate") return study(command);
  if (command.name == "generate") return generate(command.arguments, command.stop);
  if (command.name == "profile") return profile(command.arguments, command.stop);
  if (command.name == "preview") return preview(command.arguments, command.stop);
  XQS_ASSERT(command.name == "dropped");
  for (int i = 0; i < command.arguments.get<int>(); ++i)
    RunEvents([this](const json &event) { m_events.write(event); }).ended({"cancelled", "cancelled before it started"});
}

void Server::open(const json &arguments, std::stop_token stop) {
  const OpenRequest request = openRequest(arguments);
  m_preview.reset();
  if (!m_store || m_store->file() != request.store) {
    m_store.reset();
    m_store = std::make_unique<RunStore>(request.store);
  }
  const auto [backend, note] = chooseBackend(m_backends, request.session.backend);
  const auto loading = [this, &backend = backend](double fraction, const std::string &text) {
    m_events.write({{"event", "loading"}, {"fraction", fraction}, {"text", text}, {"backend", backend}});
  };
  const bool sameModel = m_session && m_session->options().model == request.session.model &&
                         m_session->options().backend == backend && m_session->options().threads == request.session.threads;
  if (sameModel) {
    m_session->setText(request.session.text);
    m_session->setCalibration(request.session.calibration);
  } else {
    m_session.reset(); // two models need not fit side by side
    m_backend = backend;
    m_session = std::make_unique<Session>(request.session, m_backends, loading, stop);
  }
  m_preview = std::make_unique<Preview>(*m_session, *m_store);
  const auto defaults = defaultExperiment().policies;
  m_toWarm.assign(defaults.begin(), defaults.end());
  const ModelConfig &config = m_session->model().config();
  m_events.write({{"event", "model"},
                  {"name", config.name},
                  {"shape",
                   {{"layers", config.shape.layers},
                    {"d", config.shape.d},
                    {"heads", config.shape.heads},
                    {"kv_heads", config.shape.kvHeads},
                    {"dh", config.shape.dh}}},
                  {"vocab", config.vocab},
                  {"context", config.contextLength},
                  {"text", m_session->text().name},
                  {"tokens", m_session->tokens().size()},
                  {"backend", backend},
                  {"backend_note", note},
                  {"device", m_session->backend().device()},
                  {"preview_run", m_preview->run()}});
}

void Server::requireSession() const {
  if (!m_session || !m_preview) throw Error(Code::Usage, "no model is open; send open first");
}

void Server::run(const json &arguments, std::stop_token stop) {
  requireSession();
  if (!arguments.contains("spec")) throw Error(Code::Usage, "run: 'spec' is missing; give the experiment");
  const Experiment experiment = experimentFromJson(arguments["spec"]);
  tellRun(std::move(stop), [&](const RunHooks &hooks) { Runner(*m_session, experiment, m_store.get()).run(hooks); });
}

void Server::generate(const json &arguments, std::stop_token stop) {
  requireSession();
  if (!arguments.contains("spec")) throw Error(Code::Usage, "generate: 'spec' is missing; give prompt and policies");
  const GenerationRequest request = generationFromJson(arguments["spec"]);
  tellRun(std::move(stop), [&](const RunHooks &hooks) { runGeneration(*m_session, request, *m_store, hooks); });
}

void Server::profile(const json &arguments, std::stop_token stop) {
  requireSession();
  if (!arguments.contains("spec")) throw Error(Code::Usage, "profile: 'spec' is missing; {} profiles the open model");
  const ProfileRequest request = profileFromJson(arguments["spec"]);
  tellRun(std::move(stop), [&](const RunHooks &hooks) { profileSession(*m_session, request, *m_store, {hooks, {}}); });
}

/// Events and previews of whatever computes one run.
void Server::tellRun(std::stop_token stop, const std::function<void(const RunHooks &)> &compute) {
  RunEvents events([this](const json &event) { m_events.write(event); });
  RunHooks hooks;
  hooks.stop = stop;
  hooks.started = [&](RowId id) { events.started(id); };
  hooks.progress = [&](const RunProgress &p) { events.progress(p.done, p.total, p.tokensPerSecond, p.secondsLeft, p.text); };
  hooks.between = [&] {
    while (const auto waiting = m_queue.nextPreview()) preview(waiting->arguments, waiting->stop);
  };
  const auto computed = [&] {
    compute(hooks);
    return RunEvents::End{};
  };
  ended(events.tell(computed, true));
}

void Server::study(const CommandQueue::Command &command) {
  requireSession();
  const auto between = [&](bool own) {
    while (const auto waiting = m_queue.nextPreview()) {
      if (own)
        preview(waiting->arguments, waiting->stop);
      else
        m_events.write({{"event", "preview-failed"},
                        {"message", "no preview while the study in progress computes another model or text"}});
    }
  };
  const StudyService service{*m_session, *m_store, m_backends, [this](const json &event) { m_events.write(event); },
                             between};
  if (command.name == "estimate") return serveEstimate(service, command.arguments);
  m_preview->warm(command.stop); // on the open text: the study may change it
  ended(serveStudy(service, command.arguments, command.stop));
}

void Server::preview(const json &arguments, std::stop_token stop) {
  const auto failed = [&](const char *message) { m_events.write({{"event", "preview-failed"}, {"message", message}}); };
  try {
    requireSession();
    if (!arguments.contains("policy") || !arguments["policy"].is_string())
      throw Error(Code::Usage, "preview: 'policy' is missing; give a policy's text");
    const PolicySpec spec = PolicySpec::parse(arguments["policy"].get<std::string>());
    const Preview::Answer answer = m_preview->show(spec, std::move(stop));
    m_events.write({{"event", "preview"},
                    {"run", m_preview->run()},
                    {"policy_index", answer.policyIndex},
                    {"policy", spec.canonical()},
                    {"milliseconds", answer.milliseconds}});
  } catch (const Error &error) {
    if (error.code() == Code::StoreUnwritable) throw;
    failed(error.what());
    if (error.code() == Code::BackendUnusable && isFault(error.code(), false)) m_fault = error;
  }
}

/// One piece of work ahead; false where nothing is left.
bool Server::warm(std::stop_token stop) {
  if (!m_preview || (m_preview->warmed() && m_toWarm.empty())) return false;
  try {
    if (!m_preview->warmed()) {
      m_preview->warm(std::move(stop));
    } else {
      m_session->method(m_toWarm.front(), std::move(stop));
      m_toWarm.pop_front();
    }
    return true;
  } catch (const Error &error) {
    if (error.code() == Code::Cancelled) return true;
    if (error.code() == Code::BackendUnusable && isFault(error.code(), false)) {
      m_fault = error;
      m_queue.quit();
      return false;
    }
    if (error.code() != Code::Usage)
      m_events.error(error.code(), error.what()); // Usage: a default that does not fit this model
    if (m_toWarm.empty()) return false;
    m_toWarm.pop_front();
    return m_preview->warmed();
  }
}

void Server::badLine(const std::string &message) {
  try {
    m_events.error(Code::Usage, message);
  } catch (const Error &) { // the engine's thread notices at its next event
  }
}

} // namespace

void serve(std::span<const BackendInfo> backends, int in, int out, std::stop_token stop) {
  Server(backends, in, out, std::move(stop)).loop();
}

std::string serveHelp() {
  return R"(Commands, one JSON object a line:
  {"cmd":"open","model":"default","text":"builtin:primer","store":"F.xqs","backend":"auto","threads":0,
   "calibration":"builtin:calibration"}
  {"cmd":"run","spec":{...}}        an experiment, see run --help; model, text and backend are those of open
  {"cmd":"study","study":"{...} or NAME","name":"N","store":"F.xqs"}   what the store lacks of a study
  {"cmd":"estimate","study":"{...} or NAME","name":"N","store":"F.xqs","tag":1}   what it would take
  {"cmd":"generate","spec":{"prompt":"...","policies":["SPEC"],"tokens":128,"raw":false,"system":"","temperature":0,"top_k":0,
   "top_p":1,"seed":1,"placement":"device","noise_floor":true,"sampling_us":0}}   token by token beside the exact model; told as a
   run is
  {"cmd":"profile","spec":{"contexts":[2048],"batches":[1],"policies":["SPEC"]}}   what decoding moves and how long it takes, see
   profile --help; the open model, or "shape":"NAME" beside it; told as a run is
  {"cmd":"pause"} {"cmd":"resume"} {"cmd":"cancel"}
  {"cmd":"preview","policy":"SPEC"} open loop on the text's first tokens; a newer one replaces one that waits
  {"cmd":"quit"}                    the end of the input does the same
Events, one JSON object a line:
  hello {version, backends}; loading {fraction, text, backend};
  model {name, shape, vocab, context, text, tokens, backend, backend_note, device, preview_run};
  run-started {run}; progress {run, done, total, tokens_per_second, seconds_left, text};
  run-ended {run, status, message, code};
  preview {run, policy_index, policy, milliseconds}; preview-failed {message};
  estimate {tag, study, about, points, missing, relative_size, runs, estimated_seconds, estimate_source};
  estimate-failed {tag, message}; error {code, message};
  backend-failed {backend, code, message}: a device's memory ran out, or it has broken down; the process then ends.
What does not fit a device's memory is refused before any is taken: an error out-of-memory, after open too, and the engine
waits for something smaller or for open with "backend":"cpu".)";
}

} // namespace xqs
