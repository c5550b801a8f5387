// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "input_file.h"

#include <cstddef>
#include <span>
#include <string>

namespace xqs {

/// SHA-256 as 64 lower-case hex digits (FIPS 180-4).
std::string sha256Hex(std::span<const std::byte> bytes);
/// Of a whole file. Throws what `InputFile::read` throws.
std::string sha256Hex(const InputFile &file);

} // namespace xqs
