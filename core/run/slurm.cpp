// SPDX-License-Identifier: Apache-2.0
#include "run/slurm.h"

#include "error.h"

#include <fmt/format.h>

#include <algorithm>

namespace xqs {

namespace {

/// As one word for bash, whatever it contains.
std::string quoted(const std::string &text) {
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

void checkLine(const char *what, const std::string &value) {
  if (value.find_first_of("\n\r") != std::string::npos)
    throw Error(Code::Usage, fmt::format("slurm: {} has a line break in its name; rename it", what));
}

void checkWord(const char *option, const std::string &value, const char *example) {
  constexpr std::string_view kValid = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,:-";
  if (value.find_first_not_of(kValid) != std::string::npos)
    throw Error(Code::Usage,
                fmt::format("slurm: {} '{}' is nothing that sbatch takes; give it as {}", option, value, example));
}

/// A file name in an #SBATCH line: % starts a pattern there, quotes and backslashes escape.
std::string sbatchPath(const std::string &path) {
  std::string text;
  for (const char c : path) text += c == '%' ? "%%" : c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  return text;
}

std::string jobName(std::string name) {
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0 && c != '-' && c != '_' && c != '.'; },
      '-');
  return name;
}

} // namespace

std::string slurmScript(const SlurmOptions &o) {
  checkLine("the store", o.store), checkLine("the study", o.study), checkLine("the program", o.program);
  checkWord("--partition", o.partition, "gpu-a100"), checkWord("--time", o.time, "1-12:00:00");
  checkWord("--mem", o.memory, "16G");
  std::string directives;
  const auto directive = [&](const std::string &line) { directives += "#SBATCH " + line + "\n"; };
  directive("--job-name=xqscope-" + jobName(o.name));
  directive(fmt::format("--array=1-{}", o.shards));
  directive("--ntasks=1");
  directive(fmt::format("--cpus-per-task={}", o.cpus));
  directive(fmt::format("--output=\"{}.slurm-%A_%a.log\"", sbatchPath(o.store)));
  if (!o.partition.empty()) directive("--partition=" + o.partition);
  if (!o.time.empty()) directive("--time=" + o.time);
  if (!o.memory.empty()) directive("--mem=" + o.memory);
  if (o.gpu) directive("--gres=gpu:1");
  std::string settings;
  for (const std::string &setting : o.settings) settings += " --set " + quoted(setting);
  if (o.gpu) settings += " --set backend=cuda";
  return fmt::format(R"SH(#!/usr/bin/env bash
# Study {name} in {shards} shards on a Slurm cluster. Submit it with `bash`, not `sbatch`: a job array computes the shards, a job
# that depends on it merges them. After a failure or a time limit do it again: finished windows are not computed twice.
{directives}set -euo pipefail

program={program}
study={study}
store={store}
shards={shards}
settings=({settings})

case ${{1:-submit}} in
submit)
  self=$(realpath "$0")
  job=$(sbatch --parsable "$self" shard)
  merge=$(sbatch --parsable --array=0 --cpus-per-task=1{noGpu} --dependency="afterok:${{job%%;*}}" --kill-on-invalid-dep=yes "$self" merge)
  echo "shards: job ${{job%%;*}}, merge: job ${{merge%%;*}}, result: $store"
  ;;
shard)
  exec "$program" run "$study" --shard "$SLURM_ARRAY_TASK_ID/$shards" --store "$store.shard-$SLURM_ARRAY_TASK_ID" --known "$store" \
    --threads "${{SLURM_CPUS_PER_TASK:-1}}" "${{settings[@]}}"
  ;;
merge)
  parts=()
  for ((i = 1; i <= shards; ++i)); do parts+=("$store.shard-$i"); done
  "$program" merge "$store" "${{parts[@]}}"
  rm -f "${{parts[@]}}"
  ;;
*)
  echo "usage: bash $0 [submit | merge]" >&2
  exit 2
  ;;
esac
)SH",
                     fmt::arg("name", jobName(o.name)), fmt::arg("shards", o.shards), fmt::arg("directives", directives),
                     fmt::arg("program", quoted(o.program)), fmt::arg("study", quoted(o.study)),
                     fmt::arg("store", quoted(o.store)), fmt::arg("settings", settings.empty() ? "" : settings.substr(1)),
                     fmt::arg("noGpu", o.gpu ? " --gres=none" : ""));
}

} // namespace xqs
