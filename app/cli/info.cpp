// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "cache/layout.h"
#include "cache/work.h"
#include "error.h"
#include "run/study_plan.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace xqs::cli {

namespace {

struct Options {
  std::string model;
  bool backends = false;
  bool json = false;
};

nlohmann::json describe(const ModelReader &reader, const std::string &location) {
  const ModelConfig &c = reader.config();
  return {{"model", location},
          {"name", c.name},
          {"sha256", reader.hash()},
          {"architecture", c.architecture},
          {"weight_types", c.weightTypes},
          {"parameters", parameterCount(c)},
          {"layers", c.shape.layers},
          {"d", c.shape.d},
          {"heads", c.shape.heads},
          {"kv_heads", c.shape.kvHeads},
          {"dh", c.shape.dh},
          {"dkv", c.shape.dkv()},
          {"ffn", c.ffn},
          {"vocab", c.vocab},
          {"context", c.contextLength},
          {"rms_eps", c.rmsEps},
          {"rope_base", c.ropeBase},
          {"tied_output", c.tiedOutput},
          {"tokenizer", reader.tokenizer()->name()},
          {"fp16_kv_bytes_per_token", fp16KvBytes(c.shape, 1)},
          {"fp16_kv_macs_per_token", cacheWork(PolicySpec::parse("fp16"), c.shape).storeMacs}};
}

void showModel(const Options &options) {
  const std::string location = resolveModel(options.model);
  const nlohmann::json info = describe(*openModel(location), location);
  if (options.json) return printJson(info);
  std::string text;
  for (const auto &[key, value] : info.items()) // in the order of the keys' names
    text += fmt::format("{:<24} {}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
  print(text);
}

/// What the instruments of a usable backend can measure; its self tests run.
std::vector<InstrumentStatus> instrumentsOf(const BackendInfo &info) {
  const BackendPtr backend(info.module->create(1), BackendDeleter{info.module->destroy});
  return backend->instruments().status();
}

nlohmann::json backendsWithInstruments() {
  nlohmann::json rows = backendsToJson(backends());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!backends()[i].usable()) continue;
    for (const InstrumentStatus &s : instrumentsOf(backends()[i]))
      rows[i]["instruments"].push_back({{"instrument", instrumentName(s.instrument)},
                                        {"state", instrumentStateName(s.state)},
                                        {"sentence", s.sentence},
                                        {"source", s.source},
                                        {"metrics", s.metrics}});
  }
  return rows;
}

void showBackends(const Options &options) {
  if (options.json) return printJson(backendsWithInstruments());
  std::string text;
  for (const BackendInfo &b : backends()) {
    text += fmt::format("{:<10} {:<10} {} ({})\n", b.name, b.usable() ? "usable" : "unusable",
                        b.usable() ? b.description : b.reason, b.from);
    if (!b.usable()) continue;
    for (const InstrumentStatus &s : instrumentsOf(b))
      text += fmt::format("  {:<8} {}: {}\n", instrumentName(s.instrument), instrumentStateName(s.state), s.sentence);
  }
  const BackendChoice choice = chooseBackend(backends(), kAutoBackend);
  text += fmt::format("{:<10} {:<10} {}\n", kAutoBackend, choice.name, choice.note);
  print(text);
}

} // namespace

void addInfo(const Command &app) {
  const auto options = std::make_shared<Options>();
  const Command command = app.add("info", "Describe a model file, or the backends of this machine");
  Option model = command.option("--model", options->model, "F", "GGUF file, synthetic:..., shape:... or default");
  const Option list =
      command.flag("--backends", options->backends, "list the backends, and why those that cannot be used cannot");
  model.excludes(list);
  command.flag("--json", options->json, "as JSON");
  command.does([options] {
    if (options->backends) return showBackends(*options);
    if (options->model.empty()) throw Error(Code::Usage, "info needs --model F or --backends");
    showModel(*options);
  });
}

} // namespace xqs::cli
