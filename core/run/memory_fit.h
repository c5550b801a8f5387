// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/layout.h"
#include "model/weights.h"

#include <span>

namespace xqs {

class Session;
struct Experiment;
struct GenerationRequest;

// Whether work fits into a device's memory, before anything of it is allocated: bytes from shapes alone. Caches count as
// their ledger says, the rest as the engine allocates it; what operations take for themselves is not known here, so that
// memory may still run out where it is tight. Nothing is refused where the bytes that are free are not known (the CPU).

/// Work was refused: out of memory, but nothing was allocated, and the device is as it was.
class MemoryRefusal : public Error {
public:
  explicit MemoryRefusal(const std::string &message) : Error(Code::OutOfMemory, message) {}
};

/// Bytes that a backend can still take, the host's memory where it computes there; < 0: not known.
Index freeMemory(const Backend &backend);
/// Of the engine's activations for `rows` rows: tokens of all lanes together.
Index activationBytes(const ModelConfig &config, Index rows);
/// Of the device's copies of caches whose `hostBytes` lie in the host's memory (Stage): two layers of each, which may be
/// twice the mean, and an eighth in reserve.
Index stageBytes(Index hostBytes, Index layers);
/// Of the exact model's FP32 K and V.
Index exactCacheBytes(const ModelConfig &config, Index tokens);

/// Memory of windows that are scored, in bytes.
class WindowMemory {
public:
  /// `traced`: the exact model's tensors are kept for captures. `free` < 0: not known.
  WindowMemory(const ModelConfig &config, Index window, State state, bool traced, Index free);
  Index exact() const;                        ///< the pass of the exact model
  Index lane(const PolicySpec &policy) const; ///< one policy more in a group
  Index group(std::span<const PolicySpec> policies) const;
  bool unlimited() const { return m_free < 0; }
  bool fits(Index bytes) const { return unlimited() || bytes <= m_free; }
  /// Throws MemoryRefusal, with both figures and what to lower, where `bytes` for `what` are not free.
  void require(Index bytes, const std::string &what) const;
  void require(const PolicySpec &policy) const; ///< by itself

private:
  ModelConfig m_config;
  Index m_window;
  State m_state;
  Index m_shared; ///< beside the lanes: hidden states, logits, the trace
  Index m_free;
};

/// Of an experiment's windows, with what is free now.
WindowMemory windowMemory(const Session &session, const Experiment &experiment, bool stored);

/// Throws MemoryRefusal where the weights of a model do not fit.
void requireWeights(const ModelConfig &config, DType matrices, Index free);
/// Throws MemoryRefusal where the caches of a generation, grown to its last token, do not fit. `fed`: tokens of prompt and
/// kept cache.
void requireGeneration(const Session &session, const GenerationRequest &request, Index fed);

} // namespace xqs
