// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "error.h"
#include "store/run_store.h"

namespace xqs::cli {

void addExport(const Command &app) {
  struct Options {
    std::string store, folder;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  const Command command = app.add("export", "Write all tables of a store as CSV files or as JSON");
  command.option("store", options->store, "F.xqs", "the .xqs file").required();
  const Option csv = command.option("--csv", options->folder, "DIR", "folder for one CSV file a table");
  command.flag("--json", options->json, "one JSON object on standard output").excludes(csv);
  command.does([options] {
    if (options->json) return print(exportJson(options->store) + "\n");
    if (options->folder.empty()) throw Error(Code::Usage, "export needs --csv DIR or --json");
    exportCsv(options->store, options->folder);
  });
}

} // namespace xqs::cli
