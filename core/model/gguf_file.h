// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dequantize_blocks.h"
#include "error.h"
#include "input_file.h"

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace xqs {

enum class GgufType : std::uint32_t { U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64 };

/// A metadata value: where its bytes lie. Validated when the file was opened, decoded when asked for.
struct GgufValue {
  GgufType type = GgufType::U8;
  GgufType elementType = GgufType::U8; ///< of an array
  std::uint64_t count = 1;             ///< elements of an array
  std::uint64_t offset = 0;            ///< byte offset of the payload in the file
};

struct GgufTensor {
  std::string name;
  const BlockType *type = nullptr;
  std::array<Index, 4> dims{1, 1, 1, 1}; ///< innermost first; unused ones are 1
  Index elements = 0;
  std::uint64_t infoOffset = 0; ///< byte offset of its description, for messages
  std::uint64_t dataOffset = 0; ///< byte offset of its first block in the file
  std::uint64_t dataBytes = 0;
};

/// A GGUF container, version 2 or 3, little-endian. The header (metadata and descriptions of tensors) is kept, a tensor's
/// data are read when asked for. No field of the file is trusted: opening checks every count, length, name and extent
/// against the file's size before anything is allocated for it, so a file that opens can be read without further checks,
/// unless it shrinks. Layout: ggml docs/gguf.md.
class GgufFile {
public:
  /// Throws NotFound, Unreadable, BadFile ("<file>: <what> at byte <offset>: <what to do>") and Unsupported (tensor types).
  explicit GgufFile(const std::string &path);

  const std::string &path() const { return m_file.path(); }
  const InputFile &file() const { return m_file; }
  const std::map<std::string, GgufValue, std::less<>> &values() const { return m_values; }
  const std::vector<GgufTensor> &tensors() const { return m_tensors; } ///< in file order
  const GgufTensor *find(std::string_view tensor) const;
  /// Rebuilds a tensor's values: out [tensor.elements] fp32. Throws Unreadable. Safe to call from several threads.
  void dequantize(const GgufTensor &tensor, std::span<float> out) const;

  // Metadata. nullopt or empty where the key is absent; BadFile naming the key where it has another type.
  std::optional<std::string_view> string(std::string_view key) const;
  std::optional<std::int64_t> integer(std::string_view key) const; ///< any integer type
  std::optional<double> number(std::string_view key) const;        ///< any integer or floating-point type
  std::optional<bool> boolean(std::string_view key) const;
  std::vector<std::string_view> strings(std::string_view key) const;
  std::vector<float> floats(std::string_view key) const;
  std::vector<std::int32_t> integers(std::string_view key) const; ///< arrays of I32 or U32

  /// Throws BadFile for this file.
  [[noreturn]] void bad(const std::string &what, std::uint64_t offset, const std::string &remedy = kBroken) const;
  /// Throws Unsupported: "<file>: <what>; <remedy>".
  [[noreturn]] void unsupported(const std::string &what, const std::string &remedy) const;

private:
  static constexpr const char *kBroken = "the file is damaged or incomplete, download or convert it again";
  class Cursor;
  void readValues(Cursor &cursor, std::uint64_t count);
  void readTensors(Cursor &cursor, std::uint64_t count);
  void placeTensors(std::uint64_t headerEnd, std::span<const std::uint64_t> offsets);
  const GgufValue *value(std::string_view key) const;
  const GgufValue *arrayOf(std::string_view key, GgufType a, GgufType b) const;

  InputFile m_file;
  std::vector<std::byte> m_header; ///< the file's first bytes; offsets in the file are offsets here
  std::map<std::string, GgufValue, std::less<>> m_values;
  std::vector<GgufTensor> m_tensors;
  std::map<std::string_view, std::size_t> m_tensorIndex; ///< views of m_tensors' names
};

} // namespace xqs
