// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "error.h"
#include "store/run_store.h"

namespace xqs::cli {

void addExport(CLI::App &app) {
  struct Options {
    std::string store, folder;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App *command = app.add_subcommand("export", "Write all tables of a store as CSV files or as JSON");
  command->add_option("store", options->store, "the .xqs file")->type_name("F.xqs")->required();
  auto *csv = command->add_option("--csv", options->folder, "folder for one CSV file a table")->type_name("DIR");
  command->add_flag("--json", options->json, "one JSON object on standard output")->excludes(csv);
  command->footer(exitCodeHelp());
  command->callback([options] {
    if (options->json) return print(exportJson(options->store) + "\n");
    if (options->folder.empty()) throw Error(Code::Usage, "export needs --csv DIR or --json");
    exportCsv(options->store, options->folder);
  });
}

} // namespace xqs::cli
