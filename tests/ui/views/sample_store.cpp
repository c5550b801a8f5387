// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/views/sample_store.h"

#include "backend.h"

#include <gmock/gmock.h>

#include <array>
#include <cmath>
#include <cstring>
#include <random>

namespace xqs::test {

namespace {

constexpr double kExactNll = 2.579; // ppl 13.18
constexpr const char *kSites[] = {"x", "residual", "delta", "latent_k", "latent_v", "k", "v"};

template <class T, std::size_t N> Blob blobOf(const std::array<T, N> &values) {
  Blob blob(sizeof values);
  std::memcpy(blob.data(), values.data(), blob.size());
  return blob;
}

/// A heavy-tailed bell, quantized to `levels` for a reconstruction (0: exact).
SummaryRow summary(const std::string &site, std::int64_t policy, int layer, double error) {
  SummaryRow row;
  row.policy = policy, row.layer = layer, row.site = site;
  const double width = 0.3 + 0.05 * layer;
  row.histogramMin = -8 * width, row.histogramMax = 10 * width;
  row.min = row.histogramMin, row.max = row.histogramMax, row.mean = 0.01 * layer, row.variance = width * width;
  row.relativeError = policy < 0 ? 0 : error;
  std::array<std::uint32_t, Summary::kBins> bins{};
  for (int i = 0; i < Summary::kBins; ++i) {
    const double x = row.histogramMin + (i + 0.5) / Summary::kBins * (row.histogramMax - row.histogramMin);
    double n = 60000 * std::exp(-std::abs(x) / width) + 40 * std::exp(-8 * std::pow(x / width - 7, 2));
    if (policy >= 0) n = i % (1 + static_cast<int>(error * 20)) == 0 ? n * (1 + error * 10) : n * 0.6;
    bins[static_cast<std::size_t>(i)] = static_cast<std::uint32_t>(n);
    row.count += static_cast<std::int64_t>(n);
  }
  row.histogram = blobOf(bins);
  Blob top;
  for (std::int32_t c = 0; c < Summary::kTopChannels; ++c) {
    const std::int32_t channel = (247 + 31 * c + layer) % 576;
    const float mean = 4.5F / static_cast<float>(1 + c);
    top.resize(top.size() + 8);
    std::memcpy(top.data() + top.size() - 8, &channel, 4);
    std::memcpy(top.data() + top.size() - 4, &mean, 4);
  }
  row.topChannels = top;
  return row;
}

SimilarityRow similarity(const std::string &site, int layers) {
  SimilarityRow row;
  row.site = site, row.layers = layers;
  std::mt19937 random(7);
  std::uniform_real_distribution<float> noise(-0.02F, 0.02F);
  std::vector<float> values(static_cast<std::size_t>(layers * layers), 1.0F);
  for (int i = 0; i < layers; ++i)
    for (int j = 0; j < i; ++j) {
      const double far = std::exp(-(i - j) / 12.0);
      const bool x = site == "x" || site == "residual";
      const float v = static_cast<float>(x ? 0.25 + 0.68 * far : -0.01 + 0.1 * far * (i % 2 ? -1 : 1)) + noise(random);
      values[static_cast<std::size_t>(i * layers + j)] = values[static_cast<std::size_t>(j * layers + i)] = v;
    }
  row.cosine.resize(values.size() * sizeof(float));
  std::memcpy(row.cosine.data(), values.data(), row.cosine.size());
  return row;
}

PolicyRow policyRow(RowId run, std::int64_t index, const SamplePolicy &sample) {
  PolicyRow row;
  row.run = run, row.index = index, row.policy = sample.policy,
  row.method = sample.policy.substr(0, sample.policy.find(':'));
  row.relativeSize = sample.relativeSize, row.relativeSizeMha = sample.relativeSizeMha,
  row.bitsPerElement = 16 * sample.relativeSize;
  row.formatBytes = static_cast<std::int64_t>(23592960 * sample.relativeSize);
  row.allocatedBytes = row.formatBytes + 8192, row.scales = row.formatBytes / 17, row.codes = row.formatBytes - row.scales;
  if (row.method == "xquant-cl") row.accumulator = 1179648;
  return row;
}

RunRow runRow(const SampleOptions &options, const char *kind) {
  RunRow row;
  row.uuid = "sample", row.startedUtc = "2026-11-22T20:39:42Z", row.kind = kind, row.title = options.title;
  row.model = "SmolLM2-135M-Instruct", row.layers = options.layers, row.d = 576, row.heads = 9, row.kvHeads = 3, row.dh = 64;
  row.window = 512, row.windows = options.windows, row.state = "all";
  row.protocol = "Teacher forcing over windows of 512 tokens; every key and value is read back from the cache (state all).";
  return row;
}

void addErrors(RunStore &store, RowId run, std::int64_t index, const SamplePolicy &sample, int layers, bool closed) {
  const double error = 0.02 + 0.5 * (1 - std::exp(-sample.kl));
  const bool rebuildsX = sample.policy.rfind("xquant", 0) == 0;
  for (int layer = 0; layer < layers; ++layer) {
    const double wave = 1 + 0.4 * std::sin(layer * 0.7), grown = error * wave;
    LayerErrorRow row;
    row.run = run, row.policy = index, row.layer = layer, row.loop = "open";
    row.k = grown * (layer < 3 ? 0.4 : 1), row.v = grown * 1.4, row.x = rebuildsX ? grown * 0.7 : std::nan("");
    store.append(row);
    if (!closed) continue;
    row.loop = "closed";
    row.k *= 1 + 0.06 * layer, row.v *= 1 + 0.08 * layer, row.x *= 1 + 0.05 * layer;
    store.append(row);
  }
}

} // namespace

const std::vector<SamplePolicy> &samplePolicies() {
  static const std::vector<SamplePolicy> kPolicies{
      {"fp16", 1, 1, 1, 0},
      {"kivi-star:bits=4", 0.2656, 0.2656, 1.033, 0.028},
      {"kivi-star:bits=3", 0.2090, 0.2090, 1.163, 0.126},
      {"kivi-star:bits=2", 0.1523, 0.1523, 3.03, 1.06},
      {"kivi:bits=2", 0.1875, 0.1875, 2.61, 0.95},
      {"xquant:bits=4", 0.2656, 0.2656, 1.017, 0.020},
      {"xquant:bits=3", 0.2090, 0.2090, 1.087, 0.080},
      {"xquant:bits=2", 0.1523, 0.1523, 1.94, 0.63},
      {"xquant:bits=4,source=x", 0.3984, 0.1328, 1.343, 0.271},
      {"xquant:bits=3,source=x", 0.3135, 0.1045, 10.6, 2.22},
      {"xquant:bits=2,source=x", 0.2285, 0.0762, 3534, 8.0},
      {"xquant-cl:bits=4,source=x,domain=residual", 0.3984, 0.1328, 1.034, 0.041},
      {"xquant-cl:bits=3,source=x,domain=residual", 0.3135, 0.1045, 1.056, 0.066},
      {"xquant-cl:bits=2,source=x,domain=residual", 0.2285, 0.0762, 1.25, 0.206},
      {"low-rank:rank=160", 0.8333, 0.8333, 145, 4.9},
  };
  return kPolicies;
}

SampleStore::SampleStore() : m_store(m_folder.filePath(QStringLiteral("sample.xqs")).toStdString()) {}

QString SampleStore::path() const { return QString::fromStdString(m_store.file().string()); }

RowId SampleStore::addRun(const SampleOptions &options) {
  const RowId run = m_store.beginRun(runRow(options, "eval"));
  const auto put = [&](auto row) { row.run = run, m_store.append(std::move(row)); };
  std::mt19937 random(static_cast<unsigned>(run));
  std::normal_distribution<double> noise(0, 0.06);
  LogRow log;
  log.utc = "2026-11-22T20:39:43Z", log.level = "info", log.text = "Model loaded: 30 layers, 134.5 M parameters, Q4_1";
  put(log);
  std::int64_t index = 0;
  for (const SamplePolicy &sample : samplePolicies()) {
    m_store.append(policyRow(run, index, sample));
    if (options.captures) addErrors(m_store, run, index, sample, options.layers, true);
    ++index;
  }
  for (int window = 0; window < options.windows; ++window) {
    WindowRow exact;
    exact.window = window, exact.tokens = 511, exact.meanNll = kExactNll + noise(random), exact.seconds = 1.2;
    put(exact);
    index = 0;
    for (const SamplePolicy &sample : samplePolicies()) {
      WindowRow row = exact;
      row.policy = index++;
      row.meanNll += std::log(sample.ratio) * options.scale * (1 + noise(random));
      row.meanKl = sample.kl * options.scale * (1 + noise(random)), row.top1 = std::exp(-sample.kl);
      put(row);
    }
  }
  if (options.captures) {
    for (const char *site : {"x", "residual", "k", "v"}) put(similarity(site, options.layers));
    for (const char *site : kSites)
      for (int layer = 0; layer < options.layers; ++layer) {
        put(summary(site, -1, layer, 0));
        put(summary(site, 7, layer, 0.2));
      }
  }
  ProblemRow problem;
  problem.policy = 10, problem.layer = 4, problem.code = "fp16-saturated",
  problem.text = "12 values were beyond FP16 and were stored as +-65504";
  put(problem);
  log.utc = "2026-11-22T20:41:02Z", log.level = "warning",
  log.text = "The last 200 tokens do not fill a window and are left out";
  put(log);
  if (options.finished) {
    RunEndRow end;
    end.endedUtc = "2026-11-22T20:41:10Z", end.status = "finished", end.seconds = 88;
    put(end);
  }
  m_store.flush();
  return run;
}

RowId SampleStore::addSensitivity(int layers) {
  SampleOptions options;
  options.layers = layers;
  const RowId run = m_store.beginRun(runRow(options, "eval"));
  std::int64_t index = 0;
  for (const int bits : {2, 3, 4})
    for (int layer = 0; layer < layers; ++layer) {
      const std::string policy = "plan:" + std::to_string(layer) + ".k=kivi-star:bits=" + std::to_string(bits);
      m_store.append(policyRow(run, index, {policy, 0.98, 0.98, 1, 0}));
      WindowRow row;
      row.run = run, row.policy = index++, row.tokens = 511;
      row.meanKl = 1e-3 * (1 + layer % 7) / (bits * bits);
      m_store.append(row);
    }
  m_store.flush();
  return run;
}

RowId SampleStore::addPreview(const std::string &policy, double damage) {
  SampleOptions options;
  const RowId run = m_store.beginRun(runRow(options, "preview"));
  const SamplePolicy sample{policy, 0.17, 0.17, 1.2, damage};
  m_store.append(policyRow(run, 0, sample));
  addErrors(m_store, run, 0, sample, options.layers, false);
  for (int layer = 0; layer < options.layers; ++layer)
    for (std::int64_t index : {-1, 0}) {
      SummaryRow row = summary("x", index, layer, damage / 4);
      row.run = run;
      m_store.append(row);
    }
  m_store.flush();
  return run;
}

RowId SampleStore::addGeneration(int tokens, int divergence, bool finished) {
  RunRow row = runRow({}, "generate");
  row.uuid = "generation", row.title = "SmolLM2-135M, text generated after 30 tokens, greedy", row.textTokens = 30;
  row.spec = R"({"prompt": "What is a cache?", "policies": ["xquant:bits=4", "kivi-star:bits=2"], "tokens": 24})";
  const RowId run = m_store.beginRun(row);
  m_store.append(policyRow(run, 0, {"xquant:bits=4", 0.27, 0.27, 1, 0}));
  m_store.append(policyRow(run, 1, {"kivi-star:bits=2", 0.15, 0.15, 1, 0}));
  addTokens(run, 0, tokens, divergence);
  if (finished) {
    RunEndRow end;
    end.run = run, end.endedUtc = "2026-11-22T20:42:10Z", end.status = "finished", end.seconds = 3;
    m_store.append(end);
  }
  m_store.flush();
  return run;
}

void SampleStore::addTokens(RowId run, int from, int to, int divergence) {
  for (int step = from; step < to; ++step)
    for (const std::int64_t policy : {-1, 0, 1}) {
      const bool other = policy == 1 && step >= divergence;
      GeneratedRow row;
      row.run = run, row.policy = policy, row.step = step, row.token = step + (other ? 1000 : 0);
      row.text = (other ? "other" : "w") + std::to_string(step) + " ";
      row.sameAsExact = !other, row.sameAsPerturbed = policy != 1 || step < divergence + 2;
      row.cacheTokens = 30 + step, row.formatBytes = (30 + step) * (policy < 0 ? 23040 : policy == 0 ? 6120 : 3510);
      row.logProbability = -0.4, row.seconds = 0.1 * step;
      m_store.append(row);
    }
  m_store.flush();
}

} // namespace xqs::test
