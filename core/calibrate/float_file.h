// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace xqs {

// A file of float arrays that is kept between runs: `magic` (8 bytes), some int64 numbers, an FNV-1a checksum of the floats,
// the arrays behind each other; little-endian. What cannot be read is computed anew, so reading only says whether it could.

/// Fills `numbers`, for the caller to check, and the arrays, which have the sizes that the caller expects.
bool readFloatFile(const std::filesystem::path &file, std::string_view magic, std::span<std::int64_t> numbers,
                   std::span<std::vector<float> *const> arrays);
/// Written beside its place and renamed, so that a reader never sees half a file. False where it cannot be written.
bool writeFloatFile(const std::filesystem::path &file, std::string_view magic, std::span<const std::int64_t> numbers,
                    std::span<const std::vector<float> *const> arrays);

} // namespace xqs
