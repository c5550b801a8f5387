// SPDX-License-Identifier: Apache-2.0
#include "jobs.h"

#include "error.h"
#include "run/machine.h"
#include "store/merge.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace xqs::cli {

namespace fs = std::filesystem;

namespace {

constexpr int kPollMs = 100;
constexpr std::size_t kMostErrorBytes = 4096;

/// One shard in a process of its own.
class Job {
public:
  Job(std::vector<std::string> arguments, double share) : m_share(share) {
    int out[2], err[2];
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0)
      throw Error(Code::OutOfMemory, "no pipes for another job; use fewer");
    std::vector<char *> argv;
    for (std::string &argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const pid_t parent = getpid();
    m_pid = fork();
    if (m_pid < 0) throw Error(Code::OutOfMemory, "no process for another job; use fewer");
    if (m_pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGTERM); // finished windows are kept and merged by the next start
      if (getppid() != parent) _exit(exitCode(Code::Cancelled));
      setpgid(0, 0); // an interrupt from the terminal reaches them through us, once
      dup2(out[1], STDOUT_FILENO);
      dup2(err[1], STDERR_FILENO);
      execv("/proc/self/exe", argv.data());
      _exit(exitCode(Code::Internal));
    }
    close(out[1]), close(err[1]);
    m_out = out[0], m_err = err[0];
  }
  ~Job() {
    if (m_pid > 0) {
      kill(m_pid, SIGTERM);
      waitpid(m_pid, nullptr, 0);
    }
    close(m_out), close(m_err);
  }
  Job(const Job &) = delete;
  Job &operator=(const Job &) = delete;

  void stop() const {
    if (m_pid > 0) kill(m_pid, SIGTERM);
  }
  void addTo(std::vector<pollfd> &fds) const {
    if (m_pid <= 0) return;
    fds.push_back({m_out, POLLIN, 0});
    fds.push_back({m_err, POLLIN, 0});
  }
  bool running() const { return m_pid > 0; }
  double share() const { return m_share; }
  const StudyProgress &progress() const { return m_progress; }
  int result() const { return m_result; }
  const std::string &message() const { return m_message; }

  /// Takes what `poll` said is there.
  void read(const std::vector<pollfd> &fds) {
    bool open = false;
    for (const pollfd &fd : fds) {
      if (fd.fd != m_out && fd.fd != m_err) continue;
      if ((fd.revents & (POLLIN | POLLHUP)) == 0) {
        open = true;
        continue;
      }
      char buffer[4096];
      const ssize_t count = ::read(fd.fd, buffer, sizeof buffer);
      if (count > 0) {
        open = true;
        fd.fd == m_out
            ? takeOutput({buffer, static_cast<std::size_t>(count)})
            : void(m_message.append(buffer, std::min(static_cast<std::size_t>(count),
                                                     kMostErrorBytes - std::min(kMostErrorBytes, m_message.size()))));
      }
    }
    if (!open) reap();
  }

private:
  void takeOutput(std::string_view bytes) {
    m_line += bytes;
    for (std::size_t end; (end = m_line.find('\n')) != std::string::npos; m_line.erase(0, end + 1)) {
      const auto json = nlohmann::json::parse(m_line.substr(0, end), nullptr, false);
      if (!json.is_object() || !json.contains("fraction")) continue;
      m_progress.fraction = json.value("fraction", 0.0);
      m_progress.secondsLeft = json.value("seconds_left", 0.0);
    }
  }

  void reap() {
    int status = 0;
    waitpid(m_pid, &status, 0);
    m_pid = -1;
    m_result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (WIFSIGNALED(status)) m_message = fmt::format("a job was ended by signal {}", WTERMSIG(status));
    m_progress.fraction = 1, m_progress.secondsLeft = 0;
  }

  double m_share;
  pid_t m_pid = -1;
  int m_out = -1, m_err = -1, m_result = 0;
  std::string m_line, m_message;
  StudyProgress m_progress;
};

fs::path partName(const fs::path &store, int job) { return fs::path(store) += fmt::format(".part-{}", job); }

/// `<store>.part-<i>` that exist, without what lies beside them.
std::vector<fs::path> leftParts(const fs::path &store) {
  const std::string prefix = store.filename().string() + ".part-";
  std::vector<fs::path> parts;
  std::error_code ignored;
  const fs::path folder = fs::absolute(store).parent_path();
  for (const auto &entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.find_first_not_of("0123456789", prefix.size()) == std::string::npos)
      parts.push_back(entry.path());
  }
  std::sort(parts.begin(), parts.end());
  return parts;
}

Code codeOf(int result) {
  for (const Code code : {Code::Usage, Code::BadFile, Code::StoreUnwritable, Code::OutOfMemory, Code::Cancelled})
    if (exitCode(code) == result) return code;
  return Code::Internal;
}

std::vector<std::string> argumentsOf(const Jobs &jobs, int job) {
  const StudyPart &part = jobs.part;
  const int threads = jobs.threads > 0 ? jobs.threads : std::max(1, coreCount() / jobs.jobs);
  // A shard's shard: its policies are part.shard, part.shard + part.shards, ...
  const int shard = part.shard + part.shards * (job - 1), shards = part.shards * jobs.jobs;
  std::vector<std::string> arguments = {"xqscope-cli", "run", jobs.spec, "--store", partName(part.store, job).string()};
  arguments.insert(arguments.end(), {"--known", part.store.string(), "--shard", fmt::format("{}/{}", shard, shards)});
  arguments.insert(arguments.end(), {"--threads", std::to_string(threads), "--progress-json"});
  for (const std::string &setting : jobs.settings) arguments.insert(arguments.end(), {"--set", setting});
  return arguments;
}

} // namespace

void mergeLeftParts(const fs::path &store) {
  std::vector<fs::path> parts;
  for (const fs::path &part : leftParts(store)) {
    if (isBeingWritten(part))
      throw Error(
          Code::StoreUnwritable,
          fmt::format("{} is being written by jobs of another run; wait for its end or use another store", part.string()));
    if (openIfWritten(part)) parts.push_back(part);
  }
  if (!parts.empty()) mergeStores(store, parts);
  for (const fs::path &part : leftParts(store))
    for (const char *suffix : {"-wal", "-shm", "-journal", "-writer", ""}) {
      std::error_code ignored;
      fs::remove(fs::path(part) += suffix, ignored);
    }
}

void runJobs(const Jobs &jobs) {
  const std::stop_token stop = interrupted();
  {
    RunStore(jobs.part.store).close(); // a store that cannot be written is told before anything starts
  }
  std::vector<std::unique_ptr<Job>> running;
  for (int job = 1; job <= jobs.jobs; ++job)
    running.push_back(std::make_unique<Job>(argumentsOf(jobs, job), 1.0 / jobs.jobs));
  {
    ProgressLine line;
    bool told = false;
    while (std::any_of(running.begin(), running.end(), [](const auto &job) { return job->running(); })) {
      std::vector<pollfd> fds;
      for (const auto &job : running) job->addTo(fds);
      poll(fds.data(), fds.size(), kPollMs);
      StudyProgress all;
      int active = 0;
      for (const auto &job : running) {
        if (job->running()) job->read(fds);
        active += job->running();
        all.fraction += job->share() * job->progress().fraction;
        all.secondsLeft = std::max(all.secondsLeft, job->progress().secondsLeft);
      }
      all.text = fmt::format("{} of {} jobs", active, jobs.jobs);
      line.show(all);
      if (stop.stop_requested() && !std::exchange(told, true))
        for (const auto &job : running) job->stop();
    }
  }
  mergeLeftParts(jobs.part.store);
  if (stop.stop_requested()) throw Error(Code::Cancelled, "stopped");
  for (const auto &job : running) {
    if (job->result() == 0) continue;
    std::string message = job->message().substr(0, job->message().find('\n'));
    constexpr std::string_view kPrefix = "xqscope-cli: ";
    if (message.starts_with(kPrefix)) message.erase(0, kPrefix.size());
    throw Error(codeOf(job->result()), message.empty() ? fmt::format("a job ended with code {}", job->result()) : message);
  }
}

} // namespace xqs::cli
