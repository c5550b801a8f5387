// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "store/merge.h"

#include <fmt/format.h>

namespace xqs::cli {

void addMerge(CLI::App &app) {
  const auto output = std::make_shared<std::string>();
  const auto inputs = std::make_shared<std::vector<std::string>>();
  CLI::App *command = app.add_subcommand(
      "merge", "Append what other stores have: shards of one study become one run, other runs are copied once");
  command->add_option("output", *output, "the .xqs file that grows; made where missing")->type_name("OUT.xqs")->required();
  command->add_option("inputs", *inputs, "stores to take from; they are not changed")->type_name("IN.xqs...")->required();
  command->footer("It can be repeated and interrupted: what is there already is not taken again.\n\n" + exitCodeHelp());
  command->callback([output, inputs] {
    const std::vector<std::filesystem::path> files(inputs->begin(), inputs->end());
    const MergeResult result = mergeStores(*output, files);
    print(fmt::format("{}: {} new runs, {} new windows under a policy\n", *output, result.newRuns, result.points));
  });
}

} // namespace xqs::cli
