// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "run/slurm.h"

#include <filesystem>

namespace xqs::cli {

namespace {

struct Options {
  std::string spec, nodes = "cpu", output;
  SlurmOptions slurm;
};

void writeScript(Options options) {
  namespace fs = std::filesystem;
  SlurmOptions &slurm = options.slurm;
  slurm.name = loadStudy(options.spec, slurm.settings).name();
  const std::vector<std::string> names = Study::builtInNames();
  const bool builtIn = std::find(names.begin(), names.end(), options.spec) != names.end();
  slurm.program = fs::read_symlink("/proc/self/exe").string();
  slurm.study = builtIn ? options.spec : fs::absolute(options.spec).lexically_normal().string();
  slurm.store = fs::absolute(slurm.store).lexically_normal().string();
  slurm.gpu = options.nodes == "gpu";
  const std::string script = slurmScript(slurm);
  if (options.output.empty()) return print(script);
  writeTextFile(options.output, script, "script");
}

} // namespace

void addSlurm(const Command &app) {
  const auto options = std::make_shared<Options>();
  SlurmOptions &slurm = options->slurm;
  const Command command = app.add("slurm", "Write a script that runs a study on a Slurm cluster: a job array, then a merge");
  addStudyOptions(command, options->spec, slurm.settings);
  command.option("--store", slurm.store, "S.xqs", "the .xqs file for the merged result, in a folder that all nodes see")
      .required();
  command.option("--shards", slurm.shards, "N", "tasks of the array").shown().range(1, 10'000);
  command.option("--nodes-type", options->nodes, "cpu|gpu", "gpu: one GPU a task and the backend cuda")
      .shown()
      .oneOf({"cpu", "gpu"});
  command.option("--partition", slurm.partition, "P", "as of sbatch; else the cluster's own");
  command.option("--time", slurm.time, "T", "limit of a task, as of sbatch");
  command.option("--mem", slurm.memory, "M", "memory of a task, as of sbatch");
  command.option("--cpus", slurm.cpus, "N", "cores of a task").shown().range(1, 1024);
  command.option("-o,--output", options->output, "F.sh", "the script to write; else standard output");
  command.about("Submit the script with: bash F.sh");
  command.does([options] { writeScript(*options); });
}

} // namespace xqs::cli
