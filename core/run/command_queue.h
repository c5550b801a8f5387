// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

namespace xqs {

/// Takes JSON lines from a file descriptor on a thread of its own, so that cancel, pause and resume act while the engine
/// computes. The engine's thread asks for what is left to do. The end of the input is a quit.
class CommandQueue {
public:
  /// `onError(message)` is called on the reading thread for a line that is no command.
  CommandQueue(int fd, std::function<void(const std::string &)> onError);
  ~CommandQueue();

  struct Command {
    /// "open", "run", "study", "generate", "profile", "estimate", "preview" (of several waiting estimates or previews only
    /// the newest is kept), or "dropped": `arguments` is the number of runs of any kind that a cancel took out of the queue
    /// before they started.
    std::string name;
    nlohmann::json arguments;
    std::stop_token stop; ///< of this command: cancel and quit request it
  };
  /// The next command, previews first; waits for one. Nothing: quit. While it waits, `idle(stop)` is called until it returns
  /// false (nothing left to do); the token is requested as soon as a command arrives.
  std::optional<Command> next(const std::function<bool(std::stop_token)> &idle);
  /// During a run: the waiting preview, if any; then, while paused, waits for the next one, for resume or for a stop.
  std::optional<Command> nextPreview();

  /// As if the input had ended.
  void quit();

private:
  bool quitting() const;
  void readLoop(std::stop_token end);
  void takeLine(const std::string &line);
  void apply(nlohmann::json object);

  int m_fd;
  std::function<void(const std::string &)> m_onError;
  mutable std::mutex m_mutex;
  std::condition_variable m_changed;
  std::deque<Command> m_commands;
  std::optional<Command> m_preview;
  std::stop_source m_current, m_idle;
  int m_droppedRuns = 0;
  bool m_paused = false, m_quit = false, m_finished = false;
  std::jthread m_reader;
};

} // namespace xqs
