// SPDX-License-Identifier: Apache-2.0
// Tokens a second of teacher-forced perplexity under each policy, beside the time that the CPU's BLAS alone needs for the
// model's matrix products and, on another backend, beside FP16 KV on the CPU, all measured in the same run. Not a test: a
// busy machine changes every figure but the ratios.
//
//   perplexity_bench [--backend cpu] [--json FILE] [--window 512] [--repeat 3] [--lanes 4] [--threads 0] [SPEC...]
#include "cpu_backends.h"
#include "engine/evaluate.h"
#include "run/experiment.h"
#include "run/machine.h"
#include "run/session.h"

#include <cblas.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <limits>
#include <memory>
#include <thread>

using namespace xqs;

namespace {

struct Options {
  std::string backend = kHostBackend, json;
  Index window = 512;
  int repeat = 3, lanes = 4, threads = 0;
  std::vector<PolicySpec> policies;
};

Options parseOptions(int argc, char **argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const auto value = [&] {
      if (i + 1 == argc) throw Error(Code::Usage, fmt::format("{} needs a value", argument));
      return argv[++i];
    };
    const auto number = [&] { return std::atoi(value()); };
    if (argument == "--backend")
      options.backend = value();
    else if (argument == "--json")
      options.json = value();
    else if (argument == "--window")
      options.window = number();
    else if (argument == "--repeat")
      options.repeat = std::max(1, number());
    else if (argument == "--lanes")
      options.lanes = std::max(1, number());
    else if (argument == "--threads")
      options.threads = number();
    else
      options.policies.push_back(PolicySpec::parse(argument));
  }
  if (options.policies.empty()) options.policies = defaultExperiment().policies;
  return options;
}

double secondsOf(const std::function<void()> &work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// y [n, outputs] = x [n, inputs] W^T, `count` times.
struct Product {
  Index outputs, inputs, count;
};

/// Every matrix product of one pass over n tokens. Attention counts as products of the same FLOPs with heads of the model's
/// width: causal, so half of n x n.
std::vector<Product> productsOf(const ModelConfig &c, Index n) {
  const ModelShape &s = c.shape;
  const Index dq = s.heads * s.dh;
  return {{dq, s.d, s.layers},
          {s.dkv(), s.d, 2 * s.layers},
          {s.d, dq, s.layers},
          {c.ffn, s.d, 2 * s.layers},
          {s.d, c.ffn, s.layers},
          {c.vocab, s.d, 1},
          {n / 2, s.dh, s.heads * s.layers},
          {s.dh, n / 2, s.heads * s.layers}};
}

double flopsOf(const std::vector<Product> &products, Index n) {
  double flops = 0;
  for (const Product &p : products) flops += 2.0 * static_cast<double>(n * p.outputs * p.inputs * p.count);
  return flops;
}

/// BLAS alone: each thread computes its share of the outputs with a single-threaded sgemm. The operands are read from
/// different places each time, as weights of different layers are.
double sgemmSeconds(const std::vector<Product> &products, Index n, int threads) {
  Index largest = 0;
  for (const Product &p : products) largest = std::max({largest, n * p.outputs, n * p.inputs});
  const Index weightFloats = Index{64} << 20; // beyond any cache
  std::vector<float> x(static_cast<std::size_t>(largest), 0.5f), y(static_cast<std::size_t>(largest));
  std::vector<float> w(static_cast<std::size_t>(weightFloats), 0.25f);
  const auto share = [&](int thread) {
    Index at = 0;
    for (const Product &p : products)
      for (Index i = 0; i < p.count; ++i) {
        const Index begin = p.outputs * thread / threads, end = p.outputs * (thread + 1) / threads;
        if (at + p.outputs * p.inputs > weightFloats) at = 0;
        if (end > begin)
          cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(n), static_cast<int>(end - begin),
                      static_cast<int>(p.inputs), 1, x.data(), static_cast<int>(p.inputs), w.data() + at + begin * p.inputs,
                      static_cast<int>(p.inputs), 0, y.data() + begin, static_cast<int>(p.outputs));
        at += p.outputs * p.inputs;
      }
  };
  return secondsOf([&] {
    std::vector<std::jthread> workers;
    for (int thread = 1; thread < threads; ++thread) workers.emplace_back([&, thread] { share(thread); });
    share(0);
  });
}

SessionOptions sessionOptions(const Options &options, const std::string &backend) {
  SessionOptions session;
  session.backend = backend, session.threads = options.threads;
  return session;
}

/// The model on one backend and the window that is scored there.
class Subject {
public:
  Subject(const Options &options, const std::string &backend, std::span<const BackendInfo> backends)
      : m_session(sessionOptions(options, backend), backends), m_evaluator(m_session.model(), State::All),
        m_lanes(static_cast<std::size_t>(options.lanes)) {
    m_session.planWindows(options.window, 0, 1);
    m_evaluator.exact(m_session.windowTokens(options.window, 0));
  }
  const Session &session() const { return m_session; }
  /// Of one window under this policy: its share of a group of lanes.
  double seconds(const PolicySpec &policy) {
    const auto method = m_session.method(policy);
    const std::vector<const Method *> group(m_lanes, method.get());
    return secondsOf([&] { m_evaluator.run(group); }) / static_cast<double>(m_lanes);
  }

private:
  Session m_session;
  WindowEvaluator m_evaluator;
  std::size_t m_lanes;
};

constexpr double kNever = std::numeric_limits<double>::infinity(), kUnknown = std::numeric_limits<double>::quiet_NaN();

/// Seconds of one window, the fastest of several rounds.
struct Figures {
  double sgemm = kNever;        ///< BLAS alone, on the CPU
  double cpuFp16 = kNever;      ///< FP16 KV on the CPU; not measured where that is the backend
  std::vector<double> policies; ///< in the options' order
};

/// A round measures everything once, so that what else the machine does meets all alike.
Figures measure(Subject &subject, Subject *cpu, const Options &options, const std::vector<Product> &products) {
  Figures best;
  best.policies.assign(options.policies.size(), kNever);
  const auto keep = [](double &fastest, double seconds) { fastest = std::min(fastest, seconds); };
  for (int round = 0; round < options.repeat; ++round) {
    keep(best.sgemm, sgemmSeconds(products, options.window, subject.session().threads()));
    if (cpu != nullptr) keep(best.cpuFp16, cpu->seconds(PolicySpec::parse("fp16")));
    for (std::size_t i = 0; i < options.policies.size(); ++i) keep(best.policies[i], subject.seconds(options.policies[i]));
  }
  return best;
}

/// The table for people; the same figures as JSON.
std::pair<std::string, nlohmann::json> report(const Figures &figures, const Options &options, const Session &session,
                                              const Session *cpu, double flops) {
  const auto window = static_cast<double>(options.window);
  double fp16 = kUnknown;
  for (std::size_t i = 0; i < options.policies.size(); ++i)
    if (options.policies[i].canonical() == "fp16") fp16 = figures.policies[i];

  nlohmann::json json = {{"machine", machineName()},
                         {"backend", session.options().backend},
                         {"device", session.backend().device()},
                         {"threads", session.threads()},
                         {"window", options.window},
                         {"lanes", options.lanes},
                         {"sgemm_tokens_per_second", window / figures.sgemm},
                         {"sgemm_gflops", flops / figures.sgemm / 1e9},
                         {"policies", nlohmann::json::array()}};
  std::string table =
      fmt::format("{}\n{}, window {}, {} lanes, {} threads, fastest of {}\nsgemm alone: {:.0f} tokens/s, {:.1f} GFLOP/s\n",
                  machineName(), session.backend().device(), options.window, options.lanes, session.threads(),
                  options.repeat, window / figures.sgemm, flops / figures.sgemm / 1e9);
  if (cpu != nullptr) {
    json["cpu_device"] = cpu->backend().device(), json["cpu_fp16_tokens_per_second"] = window / figures.cpuFp16;
    table += fmt::format("fp16 on the CPU: {:.0f} tokens/s, {}\n", window / figures.cpuFp16, cpu->backend().device());
  }
  table +=
      fmt::format("\n{:>9} {:>8} {:>8}{}  policy\n", "tokens/s", "/ sgemm", "/ fp16", cpu != nullptr ? "    / cpu" : "");
  for (std::size_t i = 0; i < options.policies.size(); ++i) {
    const std::string policy = options.policies[i].canonical();
    const double seconds = figures.policies[i], toCpu = figures.cpuFp16 / seconds;
    nlohmann::json row = {{"policy", policy},
                          {"tokens_per_second", window / seconds},
                          {"of_sgemm", figures.sgemm / seconds},
                          {"of_fp16", fp16 / seconds}};
    if (cpu != nullptr) row["of_cpu_fp16"] = toCpu;
    json["policies"].push_back(std::move(row));
    table += fmt::format("{:>9.0f} {:>8.2f} {:>8.2f}{}  {}\n", window / seconds, figures.sgemm / seconds, fp16 / seconds,
                         cpu != nullptr ? fmt::format(" {:>8.2f}", toCpu) : "", policy);
  }
  return {std::move(table), std::move(json)};
}

int bench(const Options &options) {
  static const XqsBackendModule *const kBuiltIn[] = {cpuBackendModule()};
  const std::vector<BackendInfo> backends = listBackends(kBuiltIn);
  Subject subject(options, options.backend, backends);
  const Session &session = subject.session();
  std::unique_ptr<Subject> cpu;
  if (session.options().backend != kHostBackend) cpu = std::make_unique<Subject>(options, kHostBackend, backends);
  const auto products = productsOf(session.model().config(), options.window);
  const Figures figures = measure(subject, cpu.get(), options, products);
  const auto [table, json] =
      report(figures, options, session, cpu ? &cpu->session() : nullptr, flopsOf(products, options.window));
  if (!options.json.empty()) {
    std::ofstream file(options.json);
    if (!(file << json.dump(2) << std::endl)) throw Error(Code::StoreUnwritable, "cannot write " + options.json);
  }
  return std::fwrite(table.data(), 1, table.size(), stdout) == table.size() ? 0 : 1;
}

} // namespace

int main(int argc, char **argv) {
  try {
    return bench(parseOptions(argc, argv));
  } catch (const Error &error) {
    std::fprintf(stderr, "perplexity_bench: %s\n", error.what());
    return exitCode(error.code());
  }
}
