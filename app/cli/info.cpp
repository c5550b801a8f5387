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

void showBackends(const Options &options) {
  if (options.json) return printJson(backendsToJson(backends()));
  std::string text;
  for (const BackendInfo &b : backends())
    text += fmt::format("{:<10} {:<10} {} ({})\n", b.name, b.usable() ? "usable" : "unusable",
                        b.usable() ? b.description : b.reason, b.from);
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
