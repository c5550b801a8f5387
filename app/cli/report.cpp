// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "analysis/report.h"

namespace xqs::cli {

void writeReport(const std::string &store, const std::string &output) {
  RunReader reader(store);
  writeTextFile(output, htmlReport(readReportRows(reader), parsePublished(publishedTables())), "report");
}

void addReport(const Command &app) {
  const auto store = std::make_shared<std::string>(), output = std::make_shared<std::string>();
  const Command command = app.add("report", "Write a self-contained HTML report of a store");
  command.option("store", *store, "F.xqs", "the .xqs file").required();
  command.option("-o,--output", *output, "F.html", "the HTML file to write").required();
  command.does([store, output] { writeReport(*store, *output); });
}

} // namespace xqs::cli
