// SPDX-License-Identifier: Apache-2.0
// The rows that say what a run was: model, text, protocol, machine, versions, ledgers.
#include "model/sha256.h"
#include "run/machine.h"
#include "run/runner.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <span>

namespace xqs {

namespace {

/// Raise it where a change of the program changes figures: points computed before then no longer count as done.
constexpr int kMethodVersion = 1;

std::string protocolSentence(const Experiment &experiment) {
  const bool paper = experiment.protocol == Protocol::Paper;
  return fmt::format("Teacher forcing over non-overlapping windows of {} tokens, text tokenized once, tail dropped, {}; {} "
                     "positions scored a "
                     "window{}; cache state {}: {}.",
                     experiment.window,
                     paper ? "BOS only where the tokenizer puts it"
                           : "each window's first token replaced by BOS where the vocabulary adds one",
                     experiment.window - 1 - firstScored(experiment.protocol, experiment.window),
                     paper ? "" : ", its second half, as llama-perplexity does", stateName(experiment.state),
                     experiment.state == State::All ? "every key and value read back from the cache, the own token's too"
                                                    : "a query reads what decoding sees, newest tokens exact");
}

Index bytesOf(Index bits) { return (bits + 7) / 8; }

} // namespace

RunRow describeModel(const Model &model, int threads, const char *kind) {
  const ModelConfig &config = model.config();
  RunRow row;
  row.uuid = newUuid();
  row.startedUtc = utcNow();
  row.kind = kind;
  row.model = config.name, row.modelHash = model.hash();
  row.architecture = config.architecture, row.weightTypes = config.weightTypes;
  row.layers = config.shape.layers, row.d = config.shape.d, row.heads = config.shape.heads;
  row.kvHeads = config.shape.kvHeads, row.dh = config.shape.dh, row.vocab = config.vocab, row.ffn = config.ffn;
  row.backend = model.backend().name(), row.device = model.backend().device(), row.machine = machineName();
  row.threads = threads;
  row.version = XQS_VERSION, row.libraries = libraryVersions();
  return row;
}

RunRow describeRun(const Session &session, const Experiment &experiment, Index windows, const char *kind) {
  RunRow row = describeModel(session.model(), session.threads(), kind);
  row.title = fmt::format(
      "{}, {}, {} x {} tokens, state {}{}", row.model, session.text().name, windows, experiment.window,
      stateName(experiment.state),
      experiment.protocol == Protocol::Paper ? "" : fmt::format(", protocol {}", protocolName(experiment.protocol)));
  row.text = session.text().name, row.textHash = session.text().sha256;
  row.textTokens = static_cast<std::int64_t>(session.tokens().size()), row.tokensHash = session.tokensHash();
  row.window = experiment.window, row.firstWindow = experiment.firstWindow, row.windows = windows;
  row.state = stateName(experiment.state);
  row.protocol = protocolSentence(experiment);
  row.seed = experiment.seed;
  row.spec = toJson(experiment).dump();
  const RunInputs &inputs = session.inputs();
  row.calibrationText = inputs.calibrationText().name, row.calibrationTextHash = inputs.calibrationText().sha256;
  row.calibrationTokensHash = inputs.calibrationHash(), row.calibrationWindows = inputs.calibrationWindows();
  row.studyKey = studyKey(experiment, row.modelHash, row.tokensHash, row.calibrationTokensHash);
  return row;
}

std::string studyKey(const Experiment &experiment, const std::string &modelHash, const std::string &tokensHash,
                     const std::string &calibrationTokensHash) {
  const std::string text =
      fmt::format("method {}\nmodel {}\ntokens {}\nwindow {}\nprotocol {}\nstate {}\ncalibration {}\nseed {}\nbackend {}\n",
                  kMethodVersion, modelHash, tokensHash, experiment.window, protocolName(experiment.protocol),
                  stateName(experiment.state), calibrationTokensHash, experiment.seed, experiment.backend);
  return sha256Hex(std::as_bytes(std::span(text)));
}

PolicyRow describePolicy(const PolicySpec &spec, const ModelShape &shape, Index window, State state, std::int64_t index) {
  const CacheBytes bytes = footprint(spec, shape, window, state);
  PolicyRow row;
  row.index = index;
  row.policy = spec.canonical(), row.method = spec.method().name;
  row.formatBytes = bytes.formatBytes(), row.allocatedBytes = bytes.allocated;
  row.codes = bytesOf(bytes.codes), row.scales = bytesOf(bytes.scales);
  row.outliers = bytesOf(bytes.outliers), row.residual = bytesOf(bytes.residual);
  row.accumulator = bytes.accumulator, row.scratch = bytes.scratch;
  row.relativeSize = relativeSize(spec, shape, window, state);
  row.bitsPerElement = 16 * row.relativeSize;
  row.relativeSizeMha = relativeSizeMha(spec, shape, window, state);
  return row;
}

} // namespace xqs
