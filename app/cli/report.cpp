// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "analysis/report.h"

namespace xqs::cli {

void writeReport(const std::string &store, const std::string &output) {
  RunReader reader(store);
  writeTextFile(output, htmlReport(readReportRows(reader), parsePublished(publishedTables())), "report");
}

void addReport(CLI::App &app) {
  const auto store = std::make_shared<std::string>(), output = std::make_shared<std::string>();
  CLI::App *command = app.add_subcommand("report", "Write a self-contained HTML report of a store");
  command->add_option("store", *store, "the .xqs file")->type_name("F.xqs")->required();
  command->add_option("-o,--output", *output, "the HTML file to write")->type_name("F.html")->required();
  command->footer(exitCodeHelp());
  command->callback([store, output] { writeReport(*store, *output); });
}

} // namespace xqs::cli
