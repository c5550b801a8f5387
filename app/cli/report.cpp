// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "analysis/report.h"
#include "error.h"

#include <fmt/format.h>

#include <fstream>

namespace xqs::cli {

void writeReport(const std::string &store, const std::string &output) {
  RunReader reader(store);
  const std::string page = htmlReport(readReportRows(reader), parsePublished(publishedTables()));
  std::ofstream file(output, std::ios::binary | std::ios::trunc);
  file.write(page.data(), static_cast<std::streamsize>(page.size()));
  file.close();
  if (!file)
    throw Error(Code::StoreUnwritable,
                fmt::format("report '{}' cannot be written; check the folder, its permissions and the disk", output));
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
