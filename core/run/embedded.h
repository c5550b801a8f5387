// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>

namespace xqs {

/// A text file of `resources/` that is built into the program.
struct EmbeddedFile {
  std::string_view path; ///< below resources/: "texts/primer.md"
  std::string_view bytes;
};
std::span<const EmbeddedFile> embeddedFiles();

} // namespace xqs
