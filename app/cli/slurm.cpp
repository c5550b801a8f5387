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

void addSlurm(CLI::App &app) {
  const auto options = std::make_shared<Options>();
  SlurmOptions &slurm = options->slurm;
  CLI::App *command =
      app.add_subcommand("slurm", "Write a script that runs a study on a Slurm cluster: a job array, then a merge");
  addStudyOptions(*command, options->spec, slurm.settings);
  command->add_option("--store", slurm.store, "the .xqs file for the merged result, in a folder that all nodes see")
      ->type_name("S.xqs")
      ->required();
  command->add_option("--shards", slurm.shards, "tasks of the array")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000));
  command->add_option("--nodes-type", options->nodes, "gpu: one GPU a task and the backend cuda")
      ->type_name("cpu|gpu")
      ->capture_default_str()
      ->check(CLI::IsMember({"cpu", "gpu"}));
  command->add_option("--partition", slurm.partition, "as of sbatch; else the cluster's own")->type_name("P");
  command->add_option("--time", slurm.time, "limit of a task, as of sbatch")->type_name("T");
  command->add_option("--mem", slurm.memory, "memory of a task, as of sbatch")->type_name("M");
  command->add_option("--cpus", slurm.cpus, "cores of a task")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  command->add_option("-o,--output", options->output, "the script to write; else standard output")->type_name("F.sh");
  command->footer("Submit the script with: bash F.sh\n\n" + exitCodeHelp());
  command->callback([options] { writeScript(*options); });
}

} // namespace xqs::cli
