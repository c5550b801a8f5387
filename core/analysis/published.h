// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

/// Figures of papers (resources/published.json), for curves drawn behind measured ones.
namespace xqs {

/// One printed figure.
struct PublishedRow {
  std::string table, source; ///< "xquant-table-4", "arXiv 2508.10395 table 4"
  std::string method;        ///< as in PolicyRow::method
  std::string label;         ///< as printed: "XQuant-CL-2"
  std::string model, kind;   ///< "Llama-2-7B", "mha" | "gqa"
  std::string dataset;       ///< "wikitext2" | "c4"
  int bits = 0;
  double relativeSize = 0; ///< cache bytes / FP16 KV bytes, rounded as printed
  double ppl = 0;          ///< a token, rounded as printed
  double ratio = 0;        ///< computed: ppl / ppl of FP16 on the same model and text; NaN where that is not printed
};

/// All rows of all tables, in file order. `json`: the text of published.json. Throws BadFile.
std::vector<PublishedRow> parsePublished(std::string_view json);

} // namespace xqs
