// SPDX-License-Identifier: Apache-2.0
// Tokens a second of teacher-forced perplexity under each policy, beside the time that BLAS alone needs for the model's
// matrix products, measured in the same run on the same threads. Not a test: a busy machine changes every figure but the
// ratios.
//
//   perplexity_bench [--json] [--window 512] [--repeat 3] [--lanes 4] [--threads 0] [SPEC...]
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
#include <functional>
#include <limits>
#include <thread>

using namespace xqs;

namespace {

struct Options {
  bool json = false;
  Index window = 512;
  int repeat = 3, lanes = 4, threads = 0;
  std::vector<PolicySpec> policies;
};

Options parseOptions(int argc, char **argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const auto number = [&] { return i + 1 < argc ? std::atoi(argv[++i]) : 0; };
    const std::string_view argument = argv[i];
    if (argument == "--json")
      options.json = true;
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

struct Figure {
  std::string policy;
  double seconds = 0; ///< a window under this policy, its share of the group
};
struct Figures {
  double sgemmSeconds = 0; ///< BLAS alone, one window
  std::vector<Figure> policies;
};

/// The fastest of several rounds. A round measures everything once, so that what else the machine does meets all alike.
Figures measure(Session &session, const Options &options, const std::vector<Product> &products) {
  WindowEvaluator evaluator(session.model(), State::All);
  evaluator.exact(session.windowTokens(options.window, 0));
  constexpr double kNever = std::numeric_limits<double>::infinity();
  Figures figures{kNever, {}};
  for (const PolicySpec &policy : options.policies) figures.policies.push_back({policy.canonical(), kNever});
  for (int round = 0; round < options.repeat; ++round) {
    figures.sgemmSeconds = std::min(figures.sgemmSeconds, sgemmSeconds(products, options.window, session.threads()));
    for (std::size_t i = 0; i < options.policies.size(); ++i) {
      const auto method = session.method(options.policies[i]);
      const std::vector<const Method *> group(static_cast<std::size_t>(options.lanes), method.get());
      const double seconds = secondsOf([&] { evaluator.run(group); }) / options.lanes;
      figures.policies[i].seconds = std::min(figures.policies[i].seconds, seconds);
    }
  }
  return figures;
}

int bench(const Options &options) {
  static const XqsBackendModule *const kBuiltIn[] = {cpuBackendModule()};
  SessionOptions sessionOptions;
  sessionOptions.threads = options.threads;
  Session session(sessionOptions, listBackends(kBuiltIn));
  session.planWindows(options.window, 0, 1);
  const auto products = productsOf(session.model().config(), options.window);
  const Figures all = measure(session, options, products);
  const double limit = all.sgemmSeconds;
  const std::vector<Figure> &figures = all.policies;
  const auto window = static_cast<double>(options.window);
  const auto fp16 = std::find_if(figures.begin(), figures.end(), [](const Figure &f) { return f.policy == "fp16"; });

  nlohmann::json rows = nlohmann::json::array();
  std::string table = fmt::format(
      "{}\n{}, window {}, {} lanes, {} threads, fastest of {}\nsgemm alone: {:.0f} tokens/s, {:.1f} GFLOP/s\n\n"
      "{:>9} {:>8} {:>8}  policy\n",
      machineName(), session.backend().device(), options.window, options.lanes, session.threads(), options.repeat,
      window / limit, flopsOf(products, options.window) / limit / 1e9, "tokens/s", "/ sgemm", "/ fp16");
  for (const Figure &f : figures) {
    const double toFp16 = fp16 != figures.end() ? fp16->seconds / f.seconds : std::numeric_limits<double>::quiet_NaN();
    rows.push_back({{"policy", f.policy},
                    {"tokens_per_second", window / f.seconds},
                    {"of_sgemm", limit / f.seconds},
                    {"of_fp16", toFp16}});
    table += fmt::format("{:>9.0f} {:>8.2f} {:>8.2f}  {}\n", window / f.seconds, limit / f.seconds, toFp16, f.policy);
  }
  const nlohmann::json result = {{"machine", machineName()},
                                 {"device", session.backend().device()},
                                 {"threads", session.threads()},
                                 {"window", options.window},
                                 {"lanes", options.lanes},
                                 {"sgemm_tokens_per_second", window / limit},
                                 {"sgemm_gflops", flopsOf(products, options.window) / limit / 1e9},
                                 {"policies", rows}};
  const std::string text = options.json ? result.dump(2) + "\n" : table;
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() ? 0 : 1;
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
