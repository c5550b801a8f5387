// SPDX-License-Identifier: Apache-2.0
#include "run/slurm.h"

#include "error.h"
#include "support/model_files.h"

#include <gmock/gmock.h>

#include <cstdlib>

using namespace xqs;
using testing::HasSubstr;

namespace {

SlurmOptions awkward() {
  SlurmOptions options;
  options.program = "/opt/x'qs/bin/xqscope-cli", options.study = "/data/my $(study) 100%.json";
  options.store = "/data/it's \"here\" 50%.xqs", options.name = "bits & groups", options.settings = {"text=a b'c"};
  options.partition = "long", options.time = "1-00:00:00", options.memory = "16G", options.shards = 12, options.cpus = 8;
  return options;
}

bool passes(const std::string &checker, const std::string &script) {
  const test::TempDir dir;
  const std::string file = test::writeFile(dir / "study.sh", script);
  return std::system((checker + " '" + file + "' >&2").c_str()) == 0;
}

TEST(Slurm, TheScriptIsSoundWhateverFilesAreCalled) {
  for (const bool gpu : {false, true}) {
    SlurmOptions options = awkward();
    options.gpu = gpu;
    const std::string script = slurmScript(options);
    EXPECT_TRUE(passes("bash -n", script)) << script;
    if (std::system("command -v shellcheck > /dev/null") == 0) {
      EXPECT_TRUE(passes("shellcheck --severity=warning", script)) << script;
    }
  }
}

TEST(Slurm, TheScriptAsksForWhatWasAskedFor) {
  SlurmOptions options = awkward();
  options.gpu = true;
  const std::string script = slurmScript(options);
  for (const char *line :
       {"#SBATCH --array=1-12\n", "#SBATCH --job-name=xqscope-bits---groups\n", "#SBATCH --cpus-per-task=8\n",
        "#SBATCH --partition=long\n", "#SBATCH --time=1-00:00:00\n", "#SBATCH --mem=16G\n", "#SBATCH --gres=gpu:1\n",
        "#SBATCH --output=\"/data/it's \\\"here\\\" 50%%.xqs.slurm-%A_%a.log\"\n", "--set backend=cuda", "shards=12\n"})
    EXPECT_THAT(script, HasSubstr(line));
  EXPECT_THAT(slurmScript(SlurmOptions{}), testing::Not(HasSubstr("gpu")));
}

TEST(Slurm, RunBySbatchsHandTheStepsDoTheirParts) {
  const test::TempDir dir;
  SlurmOptions options;
  options.program = dir / "program", options.study = "bits.json", options.store = dir / "out.xqs", options.shards = 3;
  options.settings = {"text=a b"};
  test::writeFile(options.program, "#!/bin/sh\nprintf '%s|' \"$@\"\n");
  test::writeFile(dir / "sbatch", "#!/bin/sh\nprintf '%s|' \"$@\" >> '" + (dir / "calls") + "'\necho 77\n");
  test::writeFile(dir / "study.sh", slurmScript(options));
  const auto output = [&](const std::string &arguments) {
    const std::string command = "cd '" + (dir / ".") +
                                "' && chmod +x program sbatch && PATH=.:$PATH SLURM_ARRAY_TASK_ID=2 "
                                "SLURM_CPUS_PER_TASK=4 bash study.sh " +
                                arguments;
    std::string text;
    FILE *pipe = popen(command.c_str(), "r");
    for (int c; (c = std::fgetc(pipe)) != EOF;) text += static_cast<char>(c);
    EXPECT_EQ(pclose(pipe), 0) << text;
    return text;
  };
  EXPECT_EQ(output("shard"), "run|bits.json|--shard|2/3|--store|" + options.store + ".shard-2|--known|" + options.store +
                                 "|--threads|4|--set|text=a b|");
  EXPECT_THAT(output("merge"), HasSubstr(".shard-1|" + options.store + ".shard-2|" + options.store + ".shard-3|"));
  EXPECT_THAT(output(""), HasSubstr("shards: job 77, merge: job 77"));
  const std::string calls = output("shard >/dev/null; cat calls");
  EXPECT_THAT(calls, HasSubstr("study.sh|shard|"));
  EXPECT_THAT(calls, HasSubstr("--dependency=afterok:77|--kill-on-invalid-dep=yes|"));
}

TEST(Slurm, ValuesThatSbatchWouldNotTakeAreRefused) {
  SlurmOptions options;
  options.partition = "a b";
  EXPECT_THROW(slurmScript(options), Error);
  options = {};
  options.time = "1 day";
  EXPECT_THROW(slurmScript(options), Error);
  options = {};
  options.store = "two\nlines.xqs";
  EXPECT_THROW(slurmScript(options), Error);
}

} // namespace
