// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/generate.h"
#include "model/text_stream.h"
#include "run/generation_traffic.h"
#include "run/runner.h"

#include <nlohmann/json_fwd.hpp>

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace xqs {

/// What is generated side by side: everything but the machine. The same JSON is the window's request and the `spec` column
/// of the store.
struct GenerationRequest {
  std::string model = "default"; ///< a location of `openModel`; of the session that generates
  std::string prompt;
  std::string system;               ///< message before the chat; empty: the chat template's own
  bool raw = false;                 ///< the prompt as it is, without the model's chat template
  std::vector<PolicySpec> policies; ///< beside the exact model, in this order
  Index tokens = 128;               ///< at most so many
  SamplerSettings sampling;
  Placement placement = Placement::Device; ///< of the policies' caches; the exact model's stays on the device
  bool noiseFloor = true; ///< every policy, and the exact model, once more with a perturbation, until their tokens differ
  std::int64_t samplingMicroseconds = 0; ///< between samples of the device's traffic; 0: none
};

/// Reads a request; missing keys take their defaults. Throws Usage: the key, what is wrong and what is valid.
GenerationRequest generationFromJson(const nlohmann::json &json);
nlohmann::json toJson(const GenerationRequest &request);
/// What the window starts from: a question, and policies whose texts part from the exact model's at different places.
GenerationRequest defaultGeneration();

/// The tokens that a model is fed. Throws Usage where the prompt is empty, or longer than the model's context; Unsupported
/// where the model's chat template is missing or not known.
std::vector<TokenId> promptTokens(const GenerationRequest &request, const Model &model);

/// The lanes of a generation from its first token: the exact model, which the others are compared with, then the methods of
/// the request's policies; with a noise floor all of them once more, perturbed, in the same order.
std::vector<Generator::Start> freshLanes(std::span<const std::shared_ptr<const Method>> methods,
                                         const GenerationRequest &request);

/// Writes what a Generator does as rows of one run of kind "generate", a token of all lanes a transaction. Lanes without a
/// perturbation are columns, the exact model first, then the request's policies; one with a perturbation is the noise floor
/// of the column that has its method, and is ended where their tokens differ. The device's traffic from the first token on
/// is sampled with the steps, where the request asks for it.
class GenerationRecorder {
public:
  /// Commits the run's row and queues the policies' ledgers. Throws Usage where a policy does not fit the model or is there
  /// twice, before anything is written.
  GenerationRecorder(Session &session, const GenerationRequest &request, std::span<const TokenId> prompt, RunStore &store);

  RowId run() const { return m_run; }
  const GenerationTraffic &traffic() const { return m_traffic; }
  /// Queues the rows of the tokens drawn since the last call. `seconds`: since the prompt was fed.
  void record(Generator &generator, double seconds);
  /// "finished", "cancelled" or "failed".
  void end(const std::string &status, const std::string &message);

private:
  struct Column {
    std::size_t lane = 0;
    std::int64_t policy = -1;
    std::ptrdiff_t twin = -1; ///< lane of the noise floor; -1: none
    TextStream text;
    std::size_t known = 0; ///< tokens recorded
    bool sameAsExact = true, sameAsPerturbed = true;
  };
  void findColumns(const Generator &generator);
  GeneratedRow nextRow(Generator &generator, Column &column) const;

  Session &m_session;
  RunStore &m_store;
  std::size_t m_tokens; ///< asked for
  RowId m_run = 0;
  GenerationTraffic m_traffic;
  std::vector<Column> m_columns; ///< found at the first call of record
  std::chrono::steady_clock::time_point m_started;
};

/// Generates into the store. Everything that can be refused is refused before the run begins; afterwards a RunEndRow says
/// how it ended. Throws as Runner::run does; a stop takes effect within a layer.
void runGeneration(Session &session, const GenerationRequest &request, RunStore &store, const RunHooks &hooks);

} // namespace xqs
