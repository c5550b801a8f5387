// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace xqs {

/// A text to score, with what the store records of it.
struct TextSource {
  std::string location; ///< as given: a path or "builtin:primer"
  std::string name;     ///< for people: the file's name, or "builtin:primer"
  std::string bytes;
  std::string sha256; ///< of the bytes, hex
};

/// Reads a text: "builtin:primer", "builtin:calibration" or a regular file of at most 256 MiB. Never blocks on a FIFO or a
/// device. Throws Usage (no such built-in text), NotFound, Unreadable, TextTooShort (empty).
TextSource loadText(const std::string &location);

/// resources/published.json: the published tables, for reference curves.
std::string_view publishedTables();

/// resources/studies: their names, and one as JSON (empty where there is none).
std::vector<std::string> builtInStudies();
std::string_view builtInStudy(std::string_view name);

/// $XDG_CACHE_HOME or ~/.cache, with /xqscope appended.
std::filesystem::path cacheFolder();
/// Where packaging/run.sh keeps the default model.
std::filesystem::path defaultModelFile();
/// "default" becomes `defaultModelFile()`, which must exist (else NotFound, with the command that fetches it); any other
/// location is returned as it is.
std::string resolveModel(const std::string &location);

} // namespace xqs
