// SPDX-License-Identifier: Apache-2.0
#include "run/resources.h"

#include "error.h"
#include "model/input_file.h"
#include "model/sha256.h"
#include "run/embedded.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <span>

namespace xqs {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxTextBytes = std::size_t{256} << 20;
constexpr std::string_view kBuiltin = "builtin:";
constexpr std::string_view kTextFolder = "texts/";
constexpr std::string_view kTextSuffix = ".md";
constexpr std::string_view kStudyFolder = "studies/";
constexpr std::string_view kStudySuffix = ".json";

std::string_view embedded(std::string_view path) {
  const auto files = embeddedFiles();
  const auto found = std::find_if(files.begin(), files.end(), [&](const EmbeddedFile &f) { return f.path == path; });
  return found == files.end() ? std::string_view() : found->bytes;
}

/// Names of the embedded files of a folder, without its name and their ending.
std::vector<std::string> namesIn(std::string_view folder, std::string_view suffix) {
  std::vector<std::string> names;
  for (const EmbeddedFile &file : embeddedFiles())
    if (file.path.starts_with(folder))
      names.emplace_back(file.path.substr(folder.size(), file.path.size() - folder.size() - suffix.size()));
  return names;
}

std::string builtinText(const std::string &location) {
  const std::string path = fmt::format("{}{}{}", kTextFolder, location.substr(kBuiltin.size()), kTextSuffix);
  const std::string_view bytes = embedded(path);
  if (bytes.empty())
    throw Error(Code::Usage, fmt::format("no built-in text '{}'; there are {}{}", location, kBuiltin,
                                         fmt::join(namesIn(kTextFolder, kTextSuffix), fmt::format(", {}", kBuiltin))));
  return std::string(bytes);
}

} // namespace

TextSource loadText(const std::string &location) {
  TextSource text;
  text.location = location;
  if (location.starts_with(kBuiltin)) {
    text.name = location;
    text.bytes = builtinText(location);
  } else {
    text.name = fs::path(location).filename().string();
    text.bytes = readRegularFile(location, "text", kMaxTextBytes);
  }
  if (text.bytes.empty())
    throw Error(Code::TextTooShort, fmt::format("text '{}' is empty; give one with at least a window of tokens", location));
  text.sha256 = sha256Hex(std::as_bytes(std::span(text.bytes)));
  return text;
}

std::string_view publishedTables() { return embedded("published.json"); }

std::vector<std::string> builtInStudies() { return namesIn(kStudyFolder, kStudySuffix); }
std::string_view builtInStudy(std::string_view name) {
  return embedded(fmt::format("{}{}{}", kStudyFolder, name, kStudySuffix));
}

fs::path cacheFolder() {
  if (const char *xdg = std::getenv("XDG_CACHE_HOME"); xdg != nullptr && *xdg != '\0') return fs::path(xdg) / "xqscope";
  const char *home = std::getenv("HOME");
  return fs::path(home != nullptr ? home : ".") / ".cache" / "xqscope";
}

fs::path defaultModelFile() { return cacheFolder() / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"; }

std::string resolveModel(const std::string &location) {
  if (location != "default") return location;
  const fs::path file = defaultModelFile();
  std::error_code ignored;
  if (!fs::exists(file, ignored))
    throw Error(Code::NotFound,
                fmt::format("the default model is not at '{}'; fetch it with packaging/run.sh --fetch-only", file.string()));
  return file.string();
}

} // namespace xqs
