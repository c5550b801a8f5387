// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "cpu_backends.h"
#include "error.h"
#include "model/shapes.h"
#include "model/utf8.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <fstream>
#include <thread>
#include <unistd.h>

namespace xqs::cli {

namespace {

int g_signalPipe[2] = {-1, -1};
volatile std::sig_atomic_t g_signals = 0;

void wake() {
  const char byte = 0;
  [[maybe_unused]] const ssize_t written = write(g_signalPipe[1], &byte, 1);
}

void onSignal(int number) {
  if (g_signals != 0) _exit(128 + number);
  g_signals = 1;
  wake();
}

/// Turns SIGINT and SIGTERM into a stop, on a thread of its own: a stop source takes a lock, which a signal handler must
/// not. Blocking the signals for a thread that waits for them would not do: BLAS has started threads before main.
class Interrupts {
public:
  Interrupts() {
    if (pipe2(g_signalPipe, O_CLOEXEC) != 0) throw Error(Code::Internal, "no pipe for signals");
    struct sigaction action {};
    action.sa_handler = onSignal;
    action.sa_flags = SA_RESTART;
    for (const int number : {SIGINT, SIGTERM}) sigaction(number, &action, nullptr);
    m_watcher = std::jthread([this](const std::stop_token &end) { watch(end); });
  }
  ~Interrupts() {
    m_watcher.request_stop();
    wake();
  }
  std::stop_token token() const { return m_source.get_token(); }

private:
  void watch(const std::stop_token &end) {
    char byte = 0;
    while (read(g_signalPipe[0], &byte, 1) < 0 && errno == EINTR) continue;
    if (!end.stop_requested()) m_source.request_stop();
  }
  std::stop_source m_source;
  std::jthread m_watcher;
};

} // namespace

std::span<const BackendInfo> backends() {
  static const XqsBackendModule *const kBuiltIn[] = {cpuBackendModule(), referenceBackendModule()};
  static const std::vector<BackendInfo> kAll = listBackends(kBuiltIn);
  return kAll;
}

std::stop_token interrupted() {
  static Interrupts interrupts;
  return interrupts.token();
}

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    throw Error(Code::StoreUnwritable, "standard output cannot be written; check the disk or the pipe behind it");
}

void printJson(const nlohmann::json &json) {
  print(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void writeTextFile(const std::string &path, std::string_view text, std::string_view what) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  file.close();
  if (!file)
    throw Error(Code::StoreUnwritable,
                fmt::format("{} '{}' cannot be written; check the folder, its permissions and the disk", what, path));
}

void addModelOptions(const Command &command, SessionOptions &options) {
  CalibrationSource &calibration = options.calibration;
  options.backend = kAutoBackend;
  command.option("--model", options.model, "F", "GGUF file, synthetic:... or default (the model run.sh fetches)").shown();
  command.option("--backend", options.backend, "NAME", "auto: cuda where it can be used, else cpu; see info --backends")
      .shown();
  command.option("--threads", options.threads, "N", "0: one a core").shown().range(0, 1024);
  command
      .option("--calibration", calibration.text, "F", "text that conditioning is measured on; never tokens that are scored")
      .shown();
  command.option("--calibration-first-window", calibration.firstWindow, "K", "its windows (of 512 tokens) to skip")
      .shown()
      .range(0, 1'000'000);
  command.option("--calibration-windows", calibration.windows, "N", "how many of them; 0: all that fit")
      .shown()
      .range(0, 1'000'000);
}

void addSessionOptions(const Command &command, SessionOptions &options) {
  command.option("--text", options.text, "F", "text file, or builtin:primer, builtin:calibration").shown();
  addModelOptions(command, options);
}

Option addPolicyOption(const Command &command, std::vector<std::string> &policies) {
  return command.option("--policy", policies, "SPEC",
                        "a cache method with its settings, as xqscope-cli policies lists them; may be repeated");
}

void addWindowOptions(const Command &command, Index &window, Index &firstWindow, Index *windows) {
  command.option("--window", window, "N", "tokens a window").shown().range(2, 1 << 20);
  command.option("--first-window", firstWindow, "K", "windows to skip at the start of the text").shown().range(0, 1'000'000);
  if (windows != nullptr)
    command.option("--windows", *windows, "N", "how many windows; 0: all that fit").shown().range(0, 1'000'000);
}

std::string shapeNames() {
  std::vector<std::string> names;
  for (const BuiltInShape &shape : builtInShapes()) names.emplace_back(shape.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

std::vector<PolicySpec> parsePolicies(const std::vector<std::string> &texts) {
  std::vector<PolicySpec> specs;
  for (const std::string &text : texts) specs.push_back(PolicySpec::parse(text));
  return specs;
}

std::unique_ptr<Session> openSession(const SessionOptions &options, ProgressLine &line) {
  const auto loading = [&](double fraction, const std::string &text) { line.show(fraction, text); };
  return orOnTheCpu(options.backend, [&](const std::string &backend) {
    SessionOptions chosen = options;
    chosen.backend = backend;
    return std::make_unique<Session>(chosen, backends(), loading, interrupted());
  });
}

void say(const std::string &sentence) {
  std::fprintf(stderr, "xqscope-cli: %s\n", printable(sentence, std::string::npos).c_str());
}

std::string exitCodeHelp() {
  constexpr std::pair<int, const char *> kMeanings[] = {
      {0, "success"},
      {exitCode(Code::Usage), "the command line, a policy or an experiment cannot be understood"},
      {exitCode(Code::BadFile), "a model, text or store cannot be used"},
      {exitCode(Code::StoreUnwritable), "an output cannot be written"},
      {exitCode(Code::OutOfMemory), "not enough memory, or the backend cannot be used"},
      {exitCode(Code::Cancelled), "interrupted; what was finished is kept"},
      {exitCode(Code::Internal), "a bug: please report it"}};
  std::string help = "Exit codes:\n";
  for (const auto &[code, meaning] : kMeanings) help += fmt::format("  {:>2}  {}\n", code, meaning);
  return help;
}

} // namespace xqs::cli
