// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/cache.h"
#include "cache/work.h"
#include "calibrate/calibration.h"
#include "engine/engine.h"
#include "model/shapes.h"

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

/// Sequences that decode over caches which hold a long text, without a forward pass over that text: what `bench decode` and
/// a profile time, trace and count.
namespace xqs {

/// Where K and V come to be. Separate: all rows in memory, before attention reads them. The others absorb V where that is
/// cheaper; K comes by chunks of kAttendTokens, inside attention, or a layer ahead on a queue of its own.
enum class DecodeForm : std::uint8_t { Separate, Chunked, Fused, Pipelined };
const char *decodeFormName(DecodeForm form);
std::vector<std::string> decodeFormNames();
DecodeForm parseDecodeForm(std::string_view text); ///< throws Usage, naming the forms there are
constexpr const char *placementName(Placement p) { return p == Placement::Host ? "host" : "device"; }
Placement parsePlacement(std::string_view text); ///< throws Usage

/// `batch` sequences of `context` random tokens each, and room for the `steps` steps that follow. A setting of how caches
/// are made or read is a line here and one in decode_steps.cpp.
struct DecodePoint {
  Index context = 32768, batch = 4;
  Index steps = 0;
  DecodeForm form = DecodeForm::Fused;
  Placement placement = Placement::Device; ///< of the caches
  std::uint64_t seed = 1;
};

/// `footprint` of one sequence's cache when it is filled. Throws Usage where the settings do not fit.
CacheBytes filledBytes(const DecodePoint &point, const PolicySpec &policy, const ModelShape &shape);

/// What a point holds at once, in bytes.
struct DecodeMemory {
  std::string policy; ///< canonical
  Index weights = 0, maps = 0, caches = 0, working = 0;
  Index host = 0; ///< caches that lie in the host's memory; `caches` are then what is copied of them at a time
  Index total() const { return weights + maps + caches + working; }
};
DecodeMemory decodeMemory(const DecodePoint &point, const PolicySpec &policy, const ModelConfig &config, DType weightType);
/// Throws MemoryRefusal, naming what is needed and what is free, before anything is taken. Weights that lie there already
/// are none that are needed: set them to 0.
void requireMemory(const DecodeMemory &need, const DecodePoint &point, const Backend &backend);

/// A built-in shape as a model, with statistics of no text: conditioning needs some, and time does not depend on them.
class LoadedShape {
public:
  /// Its config, before anything is loaded. `layers` 0: all. Throws Usage: no such shape, not so many layers.
  static std::unique_ptr<ModelReader> open(const std::string &shape, Index layers, std::uint64_t seed);
  /// Throws MemoryRefusal where the weights do not fit, OutOfMemory, Cancelled.
  LoadedShape(const ModelReader &reader, std::uint64_t seed, Backend &backend, const Model::Progress &progress = {},
              const std::stop_token &stop = {});
  const Model &model() const { return *m_model; }
  Calibration &calibration() { return *m_calibration; }

private:
  std::unique_ptr<Model> m_model;
  std::unique_ptr<Calibration> m_calibration;
};

/// The caches of one policy, filled, and what steps them. `method` must outlive it.
class DecodeSequences {
public:
  /// Throws OutOfMemory, Cancelled.
  DecodeSequences(const Method &method, const DecodePoint &point, const std::stop_token &stop);

  const Model &model() const { return m_model; }
  const Cache &front() const { return *m_caches.front(); }
  Index tokens() const { return front().tokens(); } ///< of one sequence
  /// One token of every sequence with its logits; both parts wait for the device. Throws Cancelled; the caches are then in
  /// the middle of a step and good for nothing.
  void step(const std::stop_token &stop) { layers(stop), logits(); }
  void layers(const std::stop_token &stop);
  void logits(); ///< of all sequences at once: their hidden states lie behind each other
  /// The caches as they were at `tokens` tokens. False where what was open then is packed already: they stay as they are.
  bool rewind(Index tokens);
  /// Summaries of X, every layer and sequence, from the next step on, or none.
  void setStatistics(bool on);

private:
  DecodePoint m_point;
  const Model &m_model;
  Engine m_engine;
  std::vector<std::unique_ptr<Cache>> m_caches;
  std::vector<Lane> m_lanes;
  std::vector<std::vector<Summary>> m_statistics;
  Buffer m_logits;
};

/// What `on` costs, as a share of `off`'s time: `turns` of each in turns, so that what else the machine does meets both.
/// Both give seconds; medians count.
double costInTurns(Index turns, const std::function<double()> &on, const std::function<double()> &off);

} // namespace xqs
