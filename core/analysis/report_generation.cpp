// SPDX-License-Identifier: Apache-2.0
// The report of a run of kind "generate": texts side by side, and the command that repeats it.
#include "analysis/generation.h"
#include "report_tables.h"
#include "svg.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace xqs {

using svg::escape;

std::string generationTable(const std::vector<PolicyRow> &policies, const std::vector<GeneratedRow> &rows) {
  if (rows.empty()) return "";
  std::string out = "<h3>Generated text</h3><div class='scroll'><table><thead><tr><th class='name'>policy</th><th>first "
                    "other<br>token</th><th>noise<br>floor</th><th>cache<br>bytes</th><th>size of<br>FP16 KV</th><th "
                    "class='name'>text</th></tr></thead><tbody>";
  for (const GenerationColumn &column : generationColumns(rows, policies)) {
    std::string name = "exact model", same, other;
    for (const PolicyRow &policy : policies)
      if (policy.index == column.policy) name = policyCell(policy.policy);
    for (const GeneratedRow *row : column.tokens) (row->sameAsExact != 0 ? same : other) += row->text;
    const auto step = [&](const std::optional<std::int64_t> &found) {
      return found ? std::to_string(*found + 1) : fmt::format("none in {}", column.tokens.size());
    };
    out += fmt::format(
        "<tr><td class='name'>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class='wrap'>{}<b>{}</b></td></tr>",
        name, column.policy < 0 ? "" : step(column.divergence), column.noiseMeasured ? step(column.noise) : "—",
        column.tokens.empty() ? 0 : column.tokens.back()->formatBytes,
        std::isfinite(column.relativeSize) ? fmt::format("{:.4f}", column.relativeSize) : "—", escape(same), escape(other));
  }
  return out + "</tbody></table></div><p class='muted'>Bold: from the first token on that is not the exact model's, counted "
               "from 1. Noise floor: where the same policy, its embedded tokens perturbed by 1e-6, parts from its own text. "
               "The exact model's bytes are those of its FP16 KV.</p>";
}

std::string generationCommand(const RunRow &run) {
  const auto spec = nlohmann::json::parse(run.spec, nullptr, false);
  if (!spec.is_object()) return "";
  std::string command = "xqscope-cli generate";
  for (const auto &[key, value] : spec.items()) {
    if (key == "policies" || value == "") continue;
    std::string option = key;
    for (char &c : option) c = c == '_' ? '-' : c;
    if (value.is_boolean())
      command += value.get<bool>() ? " --" + option : "";
    else
      command +=
          fmt::format(" --{}={}", option, quotedForShell(value.is_string() ? value.get<std::string>() : value.dump()));
  }
  if (spec.contains("policies") && spec["policies"].is_array())
    for (const auto &policy : spec["policies"])
      if (policy.is_string()) command += " --policy " + quotedForShell(policy.get<std::string>());
  return command + " --store repeated.xqs\n";
}

} // namespace xqs
