// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "store/merge.h"

#include <fmt/format.h>

namespace xqs::cli {

void addMerge(const Command &app) {
  const auto output = std::make_shared<std::string>();
  const auto inputs = std::make_shared<std::vector<std::string>>();
  const Command command =
      app.add("merge", "Append what other stores have: shards of one study become one run, other runs are copied once");
  command.option("output", *output, "OUT.xqs", "the .xqs file that grows; made where missing").required();
  command.option("inputs", *inputs, "IN.xqs...", "stores to take from; they are not changed").required();
  command.about("It can be repeated and interrupted: what is there already is not taken again.");
  command.does([output, inputs] {
    const std::vector<std::filesystem::path> files(inputs->begin(), inputs->end());
    const MergeResult result = mergeStores(*output, files);
    print(fmt::format("{}: {} new runs, {} new windows under a policy\n", *output, result.newRuns, result.points));
  });
}

} // namespace xqs::cli
