// SPDX-License-Identifier: Apache-2.0
#include "run/command_queue.h"

#include "error.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace xqs {

namespace {

constexpr std::size_t kMaxLineBytes = 1 << 20;
constexpr int kPollMs = 100;
/// How long the engine may take to end after a quit, before the process is ended: a decomposition in progress cannot be
/// stopped.
constexpr std::chrono::seconds kQuitPatience(5);

/// What computes rows until its end: one at a time, and cancelled together.
bool isRun(const std::string &command) {
  return command == "run" || command == "study" || command == "generate" || command == "profile";
}

} // namespace

CommandQueue::CommandQueue(int fd, std::function<void(const std::string &)> onError)
    : m_fd(fd), m_onError(std::move(onError)) {
  m_reader = std::jthread([this](std::stop_token end) { readLoop(std::move(end)); });
}

CommandQueue::~CommandQueue() {
  {
    const std::lock_guard lock(m_mutex);
    m_finished = true;
  }
  m_changed.notify_all();
}

void CommandQueue::readLoop(std::stop_token end) {
  std::string pending;
  char buffer[4096];
  while (!end.stop_requested() && !quitting()) {
    pollfd ready{.fd = m_fd, .events = POLLIN, .revents = 0};
    if (poll(&ready, 1, kPollMs) <= 0) continue;
    const ssize_t count = read(m_fd, buffer, sizeof buffer);
    if (count <= 0) break;
    pending.append(buffer, static_cast<std::size_t>(count));
    for (std::size_t newline; !quitting() && (newline = pending.find('\n')) != std::string::npos;
         pending.erase(0, newline + 1))
      takeLine(pending.substr(0, newline));
    if (pending.size() > kMaxLineBytes) {
      m_onError(fmt::format("a command line has more than {} bytes", kMaxLineBytes));
      break;
    }
  }
  quit();
  std::unique_lock lock(m_mutex);
  if (!m_changed.wait_for(lock, kQuitPatience, [this] { return m_finished; })) _exit(exitCode(Code::Cancelled));
}

void CommandQueue::takeLine(const std::string &line) {
  if (line.find_first_not_of(" \t\r") == std::string::npos) return;
  try {
    apply(nlohmann::json::parse(line));
  } catch (const nlohmann::json::exception &) {
    m_onError("a command must be one JSON object a line with a text \"cmd\", as {\"cmd\": \"cancel\"}");
  }
}

void CommandQueue::apply(nlohmann::json object) {
  Command command;
  command.name = object.at("cmd").get<std::string>();
  object.erase("cmd");
  command.arguments = std::move(object);
  if (command.name == "quit") return quit();
  std::unique_lock lock(m_mutex);
  if (command.name == "open" || isRun(command.name) || command.name == "estimate") {
    if (command.name == "estimate") std::erase_if(m_commands, [](const Command &c) { return c.name == "estimate"; });
    m_commands.push_back(std::move(command));
  } else if (command.name == "preview") {
    m_preview = std::move(command);
  } else if (command.name == "cancel") {
    m_current.request_stop();
    m_paused = false;
    m_droppedRuns += static_cast<int>(std::erase_if(m_commands, [](const Command &c) { return isRun(c.name); }));
  } else if (command.name == "pause" || command.name == "resume") {
    m_paused = command.name == "pause";
  } else {
    lock.unlock();
    m_onError(
        fmt::format("unknown command '{}'; valid are open, run, study, generate, profile, estimate, pause, resume, cancel, "
                    "preview, quit",
                    command.name));
    return;
  }
  m_idle.request_stop();
  m_changed.notify_all();
}

void CommandQueue::quit() {
  const std::lock_guard lock(m_mutex);
  m_quit = true;
  m_current.request_stop();
  m_idle.request_stop();
  m_changed.notify_all();
}

std::optional<CommandQueue::Command> CommandQueue::next(const std::function<bool(std::stop_token)> &idle) {
  std::unique_lock lock(m_mutex);
  bool moreToDo = static_cast<bool>(idle);
  for (;;) {
    if (m_quit) return std::nullopt;
    if (m_droppedRuns > 0 || m_preview || !m_commands.empty()) break;
    if (moreToDo) {
      m_idle = std::stop_source();
      const std::stop_token stop = m_idle.get_token();
      lock.unlock();
      moreToDo = idle(stop);
      lock.lock();
    } else {
      m_changed.wait(lock);
    }
  }
  m_current = std::stop_source();
  m_paused = false;
  Command command;
  if (m_droppedRuns > 0) {
    command.name = "dropped";
    command.arguments = std::exchange(m_droppedRuns, 0);
  } else if (m_preview) {
    command = std::move(*m_preview);
    m_preview.reset();
  } else {
    command = std::move(m_commands.front());
    m_commands.pop_front();
  }
  command.stop = m_current.get_token();
  return command;
}

std::optional<CommandQueue::Command> CommandQueue::nextPreview() {
  std::unique_lock lock(m_mutex);
  m_changed.wait(lock, [this] { return m_preview || !m_paused || m_quit || m_current.stop_requested(); });
  if (!m_preview || m_current.stop_requested()) return std::nullopt;
  Command command = std::move(*m_preview);
  m_preview.reset();
  command.stop = m_current.get_token();
  return command;
}

bool CommandQueue::quitting() const {
  const std::lock_guard lock(m_mutex);
  return m_quit;
}

} // namespace xqs
