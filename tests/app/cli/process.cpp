// SPDX-License-Identifier: Apache-2.0
#include "app/cli/process.h"

#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace xqs::test {

namespace {

using Clock = std::chrono::steady_clock;

int millisecondsUntil(Clock::time_point end) {
  return static_cast<int>(
      std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count()));
}

struct Child {
  pid_t pid = -1;
  int in = -1, out = -1, err = -1; ///< our ends
};

Child start(const std::vector<std::string> &arguments, const Limits &limits) {
  setenv("CUDA_VISIBLE_DEVICES", "", 0); // what is not said to compute on a GPU computes on the CPU everywhere
  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) std::abort();
  std::vector<char *> argv{const_cast<char *>(XQS_CLI)};
  for (const std::string &argument : arguments) argv.push_back(const_cast<char *>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(err[1], STDERR_FILENO);
    if (limits.fileBytes >= 0) {
      const rlimit limit{static_cast<rlim_t>(limits.fileBytes), static_cast<rlim_t>(limits.fileBytes)};
      setrlimit(RLIMIT_FSIZE, &limit);
    }
    execv(XQS_CLI, argv.data());
    _exit(127);
  }
  close(in[0]), close(out[1]), close(err[1]);
  return {pid, in[1], out[0], err[0]};
}

} // namespace

Outcome runCli(const std::vector<std::string> &arguments, const Limits &limits, std::chrono::seconds patience) {
  RunningCli cli(arguments, limits);
  cli.closeInput();
  return cli.wait(patience);
}

nlohmann::json parsed(const Outcome &outcome) {
  EXPECT_EQ(outcome.exitCode, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  return nlohmann::json::parse(outcome.out);
}

std::string expectRefusal(const Outcome &outcome, int exitCode) {
  EXPECT_FALSE(outcome.timedOut) << "hung";
  EXPECT_EQ(outcome.signal, 0) << outcome.err;
  EXPECT_EQ(outcome.exitCode, exitCode) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(outcome.err.starts_with("xqscope-cli: ")) << outcome.err;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_GT(outcome.err.size(), 30u) << outcome.err;
  EXPECT_LT(outcome.err.size(), 1000u) << outcome.err;
  return outcome.err;
}

RunningCli::RunningCli(const std::vector<std::string> &arguments, const Limits &limits) {
  std::signal(SIGPIPE, SIG_IGN);
  const Child child = start(arguments, limits);
  m_pid = child.pid, m_in = child.in, m_out = child.out, m_err = child.err;
}

RunningCli::~RunningCli() {
  closeInput();
  if (m_pid > 0) {
    kill(m_pid, SIGKILL);
    waitpid(m_pid, nullptr, 0);
  }
  close(m_out);
  close(m_err);
}

void RunningCli::send(const nlohmann::json &command) { sendText(command.dump() + "\n"); }

void RunningCli::sendText(const std::string &text) {
  EXPECT_EQ(write(m_in, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

void RunningCli::closeInput() {
  if (m_in >= 0) close(m_in);
  m_in = -1;
}

void RunningCli::closeOutput() {
  close(m_out);
  m_out = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void RunningCli::signal(int number) { kill(m_pid, number); }

/// Takes what is there from both pipes; false once both have ended.
bool RunningCli::readSome(int timeoutMs) {
  pollfd fds[] = {{m_out, POLLIN, 0}, {m_err, POLLIN, 0}};
  poll(fds, 2, timeoutMs);
  char buffer[65536];
  bool open = false;
  for (std::size_t i = 0; i < 2; ++i) {
    if ((fds[i].revents & (POLLIN | POLLHUP)) == 0) {
      open = true;
      continue;
    }
    const ssize_t count = read(fds[i].fd, buffer, sizeof buffer);
    if (count <= 0) continue;
    (i == 0 ? m_outcome.out : m_outcome.err).append(buffer, static_cast<std::size_t>(count));
    open = true;
  }
  return open;
}

nlohmann::json RunningCli::next(std::chrono::seconds patience) {
  const auto end = Clock::now() + patience;
  for (;;) {
    if (const auto newline = m_outcome.out.find('\n'); newline != std::string::npos) {
      const std::string line = m_outcome.out.substr(0, newline);
      m_outcome.out.erase(0, newline + 1);
      return nlohmann::json::parse(line);
    }
    if (Clock::now() >= end || !readSome(millisecondsUntil(end))) return nullptr;
  }
}

nlohmann::json RunningCli::until(const std::string &name, std::chrono::seconds patience) {
  const auto end = Clock::now() + patience;
  while (Clock::now() < end) {
    const nlohmann::json event = next(std::chrono::ceil<std::chrono::seconds>(end - Clock::now()));
    if (event.is_null() || event["event"] == name) return event;
  }
  return nullptr;
}

Outcome RunningCli::wait(std::chrono::seconds patience) {
  const auto end = Clock::now() + patience;
  while (Clock::now() < end && readSome(millisecondsUntil(end))) continue;
  int status = 0;
  pid_t ended = 0;
  while ((ended = waitpid(m_pid, &status, WNOHANG)) == 0 && Clock::now() < end) usleep(5000);
  if (ended == 0) {
    m_outcome.timedOut = true;
    kill(m_pid, SIGKILL);
    waitpid(m_pid, &status, 0);
  }
  m_pid = -1;
  if (WIFEXITED(status)) m_outcome.exitCode = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) m_outcome.signal = WTERMSIG(status);
  return m_outcome;
}

} // namespace xqs::test
