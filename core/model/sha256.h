// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "input_file.h"

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace xqs {

/// SHA-256 of bytes that come in pieces.
class Sha256 {
public:
  Sha256();
  void add(std::span<const std::byte> bytes);
  std::string hex(); ///< once, after the last piece

private:
  std::unique_ptr<void, void (*)(void *)> m_context;
};

/// SHA-256 as 64 lower-case hex digits (FIPS 180-4).
std::string sha256Hex(std::span<const std::byte> bytes);
/// Of a whole file. Throws what `InputFile::read` throws.
std::string sha256Hex(const InputFile &file);

} // namespace xqs
