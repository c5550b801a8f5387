// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "results_json.h"
#include "sets.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace xqs::cli {

namespace {

using nlohmann::json;

constexpr std::size_t kColumns = 6; ///< settings side by side, of 12 characters each

std::string windowsText(const std::vector<std::int64_t> &windows) {
  std::string text;
  for (std::size_t i = 0, end = 0; i < windows.size(); i = end) {
    for (end = i + 1; end < windows.size() && windows[end] == windows[end - 1] + 1;) ++end;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", windows[i]);
    if (end > i + 1) text += fmt::format(" to {}", windows[end - 1]);
  }
  return text;
}

std::string cellText(const SensitivityCell &cell) {
  return cell.windows.empty() ? "-" : fmt::format("{:.3g}", cell.extraKl.mean);
}

std::string table(const SensitivityMatrix &m) {
  std::string text =
      fmt::format("{}\n{}\nKL of one layer alone, every other FP16, {}, windows {}\n", m.run.title, m.run.protocol,
                  m.fp16.empty() ? std::string("nothing subtracted (fp16 was not measured)")
                                 : fmt::format("minus FP16's own ({:.3g} nats)", m.fp16Kl().mean),
                  windowsText(m.windows));
  for (std::size_t first = 0; first < m.settings.size(); first += kColumns) {
    const std::size_t end = std::min(first + kColumns, m.settings.size());
    text += "\n";
    for (std::size_t i = first; i < end; ++i)
      text += fmt::format("{:>10}  {}\n", fmt::format("({})", i + 1), m.settings[i].name);
    text += fmt::format("{:>5}", "layer");
    for (std::size_t i = first; i < end; ++i) text += fmt::format("{:>12}", fmt::format("({})", i + 1));
    text += "\n";
    std::vector<double> sums(end - first), bytes(end - first);
    for (std::size_t layer = 0; layer < static_cast<std::size_t>(m.shape.layers); ++layer) {
      text += fmt::format("{:>5}", layer);
      for (std::size_t i = first; i < end; ++i) {
        const SensitivityCell &cell = m.settings[i].cells[layer];
        text += fmt::format("{:>12}", cellText(cell));
        if (cell.windows.empty()) continue;
        sums[i - first] += cell.extraKl.mean, bytes[i - first] += cell.bytesPerToken;
      }
      text += "\n";
    }
    text += fmt::format("{:>5}", "sum");
    for (const double sum : sums) text += fmt::format("{:>12.3g}", sum);
    text += fmt::format("\n{:>5}", "bytes");
    for (const double b : bytes) text += fmt::format("{:>12.1f}", b);
    text += "\n";
  }
  return text + "\nsum: over the layers measured, as if each one's KL added up. bytes: a token, of the layers measured\n";
}

json asJson(const SensitivityMatrix &m) {
  json settings = json::array();
  for (const SensitivitySetting &setting : m.settings) {
    json cells = json::array();
    for (const SensitivityCell &cell : setting.cells)
      cells.push_back(cell.windows.empty() ? json()
                                           : json({{"kl", estimateJson(cell.kl)},
                                                   {"extra_kl", estimateJson(cell.extraKl)},
                                                   {"format_bytes_per_token", cell.bytesPerToken}}));
    settings.push_back({{"policy", setting.policy},
                        {"side", !setting.side ? json() : json(*setting.side == Side::K ? "k" : "v")},
                        {"name", setting.name},
                        {"layers", cells}});
  }
  return {{"run", m.run.id},
          {"title", m.run.title},
          {"protocol", m.run.protocol},
          {"windows", m.windows},
          {"fp16_kl", estimateJson(m.fp16Kl())},
          {"settings", settings}};
}

} // namespace

void addSensitivity(const Command &app) {
  struct Options {
    std::string store;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  const Command command =
      app.add("sensitivity", "Show what each layer costs by itself, from a store of the study of that name");
  command.option("store", options->store, "F.xqs[#run]", "the .xqs file, or one run of it as F.xqs#2").required();
  command.flag("--json", options->json, "as JSON, with intervals");
  command.about(
      "Measure it with: xqscope-cli run sensitivity --store F.xqs (studies sensitivity prints the study, to change "
      "it)");
  command.does([options] {
    const SensitivityMatrix matrix = readMatrix(options->store);
    options->json ? printJson(asJson(matrix)) : print(table(matrix));
  });
}

} // namespace xqs::cli
