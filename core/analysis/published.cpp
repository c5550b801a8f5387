// SPDX-License-Identifier: Apache-2.0
#include "published.h"

#include "error.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <limits>
#include <map>
#include <tuple>

namespace xqs {
namespace {

using FpKey = std::tuple<std::string, std::string, std::string>; ///< table, model, dataset

std::vector<PublishedRow> readRows(const nlohmann::json &file) {
  std::vector<PublishedRow> rows;
  std::map<FpKey, double> fp16;
  std::map<std::string, std::string> fp16Table; // whose FP16 rows a table uses
  for (const auto &table : file.at("tables")) {
    const std::string id = table.at("id");
    fp16Table[id] = table.value("fp16_table", id);
    for (const auto &entry : table.at("rows")) {
      PublishedRow row;
      row.table = id, row.source = table.at("source");
      row.method = entry.at("method"), row.label = entry.at("label"), row.model = entry.at("model");
      row.kind = entry.at("kind"), row.dataset = entry.at("dataset"), row.bits = entry.at("bits");
      row.relativeSize = entry.at("relative_size"), row.ppl = entry.at("ppl");
      if (row.method == "fp16") fp16[{id, row.model, row.dataset}] = row.ppl;
      rows.push_back(std::move(row));
    }
  }
  for (PublishedRow &row : rows) {
    const auto base = fp16.find({fp16Table[row.table], row.model, row.dataset});
    row.ratio = base == fp16.end() ? std::numeric_limits<double>::quiet_NaN() : row.ppl / base->second;
  }
  return rows;
}

} // namespace

std::vector<PublishedRow> parsePublished(std::string_view json) {
  try {
    return readRows(nlohmann::json::parse(json));
  } catch (const nlohmann::json::exception &error) { // the library's own type ends here
    throw Error(Code::BadFile,
                fmt::format("published figures are not as expected ({}): install XQScope again", error.what()));
  }
}

} // namespace xqs
