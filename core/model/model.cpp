// SPDX-License-Identifier: Apache-2.0
#include "model.h"

#include "weights.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

namespace xqs {
namespace {

struct Job {
  Weight weight;
  Index layer; ///< -1: model-wide
  View target; ///< on the backend
  Index elements() const { return target.rows * target.cols; }
};

ConstView LayerWeights::*memberOf(Weight weight) {
  switch (weight) {
  case Weight::AttentionNorm: return &LayerWeights::attentionNorm;
  case Weight::Wq: return &LayerWeights::wq;
  case Weight::Wk: return &LayerWeights::wk;
  case Weight::Wv: return &LayerWeights::wv;
  case Weight::Wo: return &LayerWeights::wo;
  case Weight::FfnNorm: return &LayerWeights::ffnNorm;
  case Weight::WGate: return &LayerWeights::wGate;
  case Weight::WUp: return &LayerWeights::wUp;
  case Weight::WDown: return &LayerWeights::wDown;
  default: XQS_ASSERT(!"not a layer's weight"); return nullptr;
  }
}

void checkStop(const std::stop_token &stop) {
  if (stop.stop_requested()) throw Error(Code::Cancelled, "loading the model was cancelled");
}

/// Rebuilds `jobs` side by side, one thread each, into outs[i]. Returns when all have ended; throws the first failure.
void readTogether(const ModelReader &reader, std::span<const Job> jobs, std::span<float *const> outs) {
  std::exception_ptr failure;
  std::mutex mutex;
  {
    std::vector<std::jthread> workers;
    for (std::size_t i = 0; i < jobs.size(); ++i)
      workers.emplace_back([&, i] {
        try {
          reader.read(jobs[i].weight, jobs[i].layer, {outs[i], static_cast<std::size_t>(jobs[i].elements())});
        } catch (...) {
          const std::scoped_lock lock(mutex);
          if (!failure) failure = std::current_exception();
        }
      });
  }
  if (failure) std::rethrow_exception(failure);
}

/// FP32 values of the host to a weight of any type.
void put(Backend &backend, const float *values, View target) {
  const Index bytes = target.rows * target.cols * sizeOf(DType::F32);
  if (target.type == DType::F32) return backend.upload(Queue::Compute, target.data, values, bytes);
  const Buffer wide = backend.allocate(bytes, Purpose::Scratch);
  backend.upload(Queue::Compute, wide.data(), values, bytes);
  backend.convert(Queue::Compute, wide.f32(target.rows, target.cols), target);
}

/// Only this thread touches the backend; the workers write into its memory where the host may and weights are FP32, else
/// into staging memory.
void readAll(const ModelReader &reader, Backend &backend, std::span<const Job> jobs, const Model::Progress &progress,
             const std::stop_token &stop) {
  const std::size_t width = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, 16);
  const bool inPlace = backend.hostVisible() && backend.weightType() == DType::F32;
  std::vector<std::vector<float>> staging(inPlace ? 0 : width);
  std::vector<float *> outs(width);
  double total = 0, done = 0;
  for (const Job &job : jobs) total += static_cast<double>(job.elements());
  for (std::size_t first = 0; first < jobs.size(); first += width) {
    checkStop(stop);
    const auto batch = jobs.subspan(first, std::min(width, jobs.size() - first));
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (staging.empty()) {
        outs[i] = reinterpret_cast<float *>(batch[i].target.data);
        continue;
      }
      staging[i].resize(std::max(staging[i].size(), static_cast<std::size_t>(batch[i].elements())));
      outs[i] = staging[i].data();
    }
    readTogether(reader, batch, outs);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (!staging.empty()) put(backend, outs[i], batch[i].target);
      done += static_cast<double>(batch[i].elements());
    }
    if (!staging.empty()) backend.sync(Queue::Compute); // the staging memory is written again
    if (progress) progress(done / total);
  }
}

} // namespace

std::unique_ptr<Model> Model::load(const ModelReader &reader, Backend &backend, const Progress &progress,
                                   std::stop_token stop) {
  std::unique_ptr<Model> model(new Model);
  model->m_config = reader.config();
  model->m_tokenizer = reader.tokenizer();
  model->m_backend = &backend;
  const ModelConfig &config = model->m_config;
  model->m_layers.resize(static_cast<std::size_t>(config.shape.layers));

  std::vector<Job> jobs;
  const auto add = [&](Weight weight, Index layer) -> ConstView {
    const WeightShape shape = weightShape(config, weight);
    const DType type = shape.rows > 1 ? backend.weightType() : DType::F32;
    Buffer &buffer = model->m_buffers.emplace_back(backend.allocate(shape.elements() * sizeOf(type), Purpose::Weights));
    const View target = buffer.view(type, shape.rows, shape.cols);
    jobs.push_back({weight, layer, target});
    model->m_parameters += shape.elements();
    return target;
  };
  model->m_tokenEmbedding = add(Weight::TokenEmbedding, -1);
  model->m_outputNorm = add(Weight::OutputNorm, -1);
  model->m_output = config.tiedOutput ? model->m_tokenEmbedding : add(Weight::Output, -1);
  for (Index layer = 0; layer < config.shape.layers; ++layer)
    for (std::size_t i = 0; i < kWeightKinds; ++i)
      if (const auto weight = static_cast<Weight>(i); isPerLayer(weight))
        model->m_layers[static_cast<std::size_t>(layer)].*memberOf(weight) = add(weight, layer);
  readAll(reader, backend, jobs, progress, stop);
  checkStop(stop);
  if (const std::int64_t beyond = backend.takeSaturated(); beyond > 0)
    throw Error(Code::BackendUnusable, std::to_string(beyond) + " weights do not fit FP16, which backend " + backend.name() +
                                           " keeps them in; compute on the CPU (backend cpu)");
  model->m_hash = reader.hash();
  return model;
}

} // namespace xqs
