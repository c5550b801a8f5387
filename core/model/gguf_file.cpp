// SPDX-License-Identifier: Apache-2.0
#include "gguf_file.h"

#include "utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>

namespace xqs {
namespace {

constexpr int kMaxArrayNesting = 4;
constexpr std::uint64_t kSmallestValue = 8 + 1 + 4 + 1;          // key length, key, type, payload
constexpr std::uint64_t kSmallestTensor = 8 + 1 + 4 + 8 + 4 + 8; // name length, name, dimensions, one of them, type, offset
constexpr std::uint64_t kDefaultAlignment = 32;
constexpr std::uint64_t kLargestHeader = std::uint64_t{1} << 29; // the largest vocabularies take about 20 MB
constexpr std::uint64_t kFirstHeaderRead = 1 << 16;
constexpr Index kDequantizeBytes = 1 << 18; // of a tensor at a time: stays in a core's cache
constexpr const char *kConvert = "convert the model again with a current converter";

/// Bytes of one scalar, 0 for strings and arrays.
constexpr std::uint64_t scalarBytes(GgufType type) {
  constexpr std::uint8_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return kBytes[static_cast<std::size_t>(type)];
}
constexpr std::uint64_t smallestElement(GgufType type) {
  return type == GgufType::String ? 8 : type == GgufType::Array ? 12 : scalarBytes(type);
}

std::string quoted(std::string_view name) { return "'" + printable(name) + "'"; }

} // namespace

/// Reads the header forward; every read is checked against what is left of the file.
class GgufFile::Cursor {
public:
  explicit Cursor(GgufFile &file) : m_file(file) {}

  std::uint64_t position() const { return m_position; }
  std::uint64_t left() const { return m_file.m_file.size() - m_position; }

  /// The next bytes, valid until more is taken.
  const std::byte *take(std::uint64_t bytes, const std::string &what) {
    if (bytes > left())
      m_file.bad(fmt::format("the file ends inside {} ({} bytes needed, {} left)", what, bytes, left()), m_position);
    fetch(m_position + bytes, what);
    const std::byte *data = m_file.m_header.data() + m_position;
    m_position += bytes;
    return data;
  }
  template <typename T> T read(const std::string &what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what), sizeof(T));
    return value;
  }
  /// Valid until more is taken.
  std::string_view text(const std::string &what) {
    const auto length = read<std::uint64_t>("the length of " + what);
    return {reinterpret_cast<const char *>(take(length, what)), static_cast<std::size_t>(length)};
  }
  GgufType type(const std::string &what) {
    const std::uint64_t at = m_position;
    const auto number = read<std::uint32_t>("the type of " + what);
    if (number > static_cast<std::uint32_t>(GgufType::F64))
      m_file.bad(fmt::format("{} has the unknown value type {}", what, number), at);
    return static_cast<GgufType>(number);
  }
  /// A count of things of at least `smallest` bytes each: refused where the rest of the file cannot hold them.
  std::uint64_t count(const std::string &what, std::uint64_t smallest) {
    const std::uint64_t at = m_position;
    const auto number = read<std::uint64_t>("the number of " + what);
    if (number > left() / smallest) m_file.bad(fmt::format("{} {} cannot fit the {} bytes left", number, what, left()), at);
    return number;
  }
  /// Walks over a value's payload.
  void skip(GgufType valueType, const std::string &what, int nesting = 0) {
    if (valueType == GgufType::String) {
      text(what);
    } else if (valueType == GgufType::Array) {
      if (nesting == kMaxArrayNesting) m_file.bad(what + " nests arrays too deeply", m_position);
      const GgufType elementType = type(what);
      const std::uint64_t elements = count("elements of " + what, smallestElement(elementType));
      if (scalarBytes(elementType) > 0)
        take(elements * scalarBytes(elementType), what);
      else
        for (std::uint64_t i = 0; i < elements; ++i) skip(elementType, what, nesting + 1);
    } else {
      const std::byte *data = take(scalarBytes(valueType), what);
      if (valueType == GgufType::Bool && std::to_integer<int>(*data) > 1)
        m_file.bad(what + " is neither true nor false", m_position - 1);
    }
  }

private:
  /// Makes the header at least `end` bytes long, at most the file's size; grows by doubling.
  void fetch(std::uint64_t end, const std::string &what) {
    std::vector<std::byte> &header = m_file.m_header;
    const std::uint64_t have = header.size();
    if (end <= have) return;
    if (end > kLargestHeader)
      m_file.bad(fmt::format("{} makes the header longer than {} bytes", what, kLargestHeader), m_position);
    header.resize(std::min(m_file.m_file.size(), std::max({end, 2 * have, kFirstHeaderRead})));
    m_file.m_file.read(have, std::span(header).subspan(have));
  }

  GgufFile &m_file;
  std::uint64_t m_position = 0;
};

GgufFile::GgufFile(const std::string &path) : m_file(path) {
  Cursor cursor(*this);
  if (m_file.size() == 0) bad("the file is empty", 0);
  if (m_file.size() < 4 || std::memcmp(cursor.take(4, "the magic"), "GGUF", 4) != 0)
    bad("this is not a GGUF file (its first bytes are not 'GGUF')", 0, "give a model in GGUF format");
  const auto version = cursor.read<std::uint32_t>("the version");
  if ((version & 0xffff) == 0) bad("this GGUF file is big-endian", 4, "convert it for little-endian machines");
  if (version != 2 && version != 3) bad(fmt::format("GGUF version {} is not known (2 and 3 are)", version), 4, kConvert);
  const std::uint64_t tensors = cursor.count("tensors", kSmallestTensor);
  const std::uint64_t values = cursor.count("metadata values", kSmallestValue);
  if (tensors == 0) bad("the file holds no tensors", 8, "give a file with a model's weights");
  readValues(cursor, values);
  if (integer("split.count").value_or(1) > 1)
    unsupported("this is one part of a model that is split over several files", "join the parts with gguf-split --merge");
  readTensors(cursor, tensors);
  m_header.resize(cursor.position());
  m_header.shrink_to_fit();
}

void GgufFile::readValues(Cursor &cursor, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t at = cursor.position();
    const std::string key(cursor.text(fmt::format("the key of metadata value {}", i)));
    if (key.empty()) bad(fmt::format("metadata value {} has no key", i), at);
    const std::string what = "metadata " + quoted(key);
    GgufValue value;
    value.type = cursor.type(what);
    value.offset = cursor.position();
    cursor.skip(value.type, what);
    if (value.type == GgufType::Array) {
      std::uint32_t elementType;
      std::memcpy(&elementType, m_header.data() + value.offset, 4);
      value.elementType = static_cast<GgufType>(elementType);
      std::memcpy(&value.count, m_header.data() + value.offset + 4, 8);
      value.offset += 12;
    }
    if (!m_values.emplace(key, value).second) bad(what + " is there twice", at);
  }
}

void GgufFile::readTensors(Cursor &cursor, std::uint64_t count) {
  std::vector<std::uint64_t> offsets;
  for (std::uint64_t i = 0; i < count; ++i) {
    GgufTensor tensor;
    tensor.infoOffset = cursor.position();
    tensor.name = cursor.text(fmt::format("the name of tensor {}", i));
    const std::string what = "tensor " + quoted(tensor.name);
    if (tensor.name.empty()) bad(fmt::format("tensor {} has no name", i), tensor.infoOffset);
    const auto dimensions = cursor.read<std::uint32_t>("the dimensions of " + what);
    if (dimensions < 1 || dimensions > tensor.dims.size())
      bad(fmt::format("{} has {} dimensions (1 to 4 are possible)", what, dimensions), tensor.infoOffset);
    tensor.elements = 1;
    for (std::uint32_t j = 0; j < dimensions; ++j) {
      const auto size = cursor.read<std::uint64_t>("the dimensions of " + what);
      if (size == 0 || size > static_cast<std::uint64_t>(std::numeric_limits<Index>::max() / tensor.elements))
        bad(fmt::format("{} has the impossible dimension {}", what, size), tensor.infoOffset);
      tensor.dims[j] = static_cast<Index>(size);
      tensor.elements *= tensor.dims[j];
    }
    const auto type = cursor.read<std::uint32_t>("the type of " + what);
    tensor.type = findBlockType(type);
    if (tensor.type == nullptr)
      unsupported(fmt::format("{} is stored as {}, which this program does not read", what, blockTypeName(type)),
                  "use a file with F16, Q8_0, Q4_K or similar weights");
    if (tensor.dims[0] % tensor.type->blockElements != 0)
      bad(fmt::format("{} has rows of {} elements, not a multiple of {}'s {}", what, tensor.dims[0], tensor.type->name,
                      tensor.type->blockElements),
          tensor.infoOffset);
    offsets.push_back(cursor.read<std::uint64_t>("the offset of " + what));
    m_tensors.push_back(std::move(tensor));
  }
  for (std::size_t i = 0; i < m_tensors.size(); ++i)
    if (!m_tensorIndex.emplace(m_tensors[i].name, i).second)
      bad("tensor " + quoted(m_tensors[i].name) + " is there twice", m_tensors[i].infoOffset);
  placeTensors(cursor.position(), offsets);
}

// Tensor data starts at the next multiple of the alignment after the header; offsets count from there.
void GgufFile::placeTensors(std::uint64_t headerEnd, std::span<const std::uint64_t> offsets) {
  const std::int64_t given = integer("general.alignment").value_or(static_cast<std::int64_t>(kDefaultAlignment));
  if (given < 1 || given > (1 << 30) || !std::has_single_bit(static_cast<std::uint64_t>(given)))
    bad(fmt::format("the alignment {} is not a power of two", given), values().find("general.alignment")->second.offset);
  const auto alignment = static_cast<std::uint64_t>(given);
  const std::uint64_t start = (headerEnd + alignment - 1) / alignment * alignment;
  const std::uint64_t size = m_file.size();
  for (std::size_t i = 0; i < m_tensors.size(); ++i) {
    GgufTensor &t = m_tensors[i];
    const std::string what = "tensor " + quoted(t.name);
    const auto blocks = static_cast<std::uint64_t>(t.elements / t.type->blockElements);
    if (offsets[i] % alignment != 0)
      bad(fmt::format("{} starts at {}, not a multiple of {}", what, offsets[i], alignment), t.infoOffset);
    if (start > size || offsets[i] > size - start ||
        blocks > (size - start - offsets[i]) / static_cast<std::uint64_t>(t.type->blockBytes))
      bad(fmt::format("{} ({} blocks of {} bytes at offset {}) lies beyond the file's {} bytes", what, blocks,
                      t.type->blockBytes, offsets[i], size),
          t.infoOffset);
    t.dataOffset = start + offsets[i];
    t.dataBytes = blocks * static_cast<std::uint64_t>(t.type->blockBytes);
  }
  std::vector<std::size_t> order(m_tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) { return m_tensors[i].dataOffset; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const GgufTensor &before = m_tensors[order[i - 1]], &after = m_tensors[order[i]];
    if (before.dataOffset + before.dataBytes > after.dataOffset)
      bad("tensors " + quoted(before.name) + " and " + quoted(after.name) + " overlap", after.infoOffset);
  }
}

const GgufTensor *GgufFile::find(std::string_view tensor) const {
  const auto it = m_tensorIndex.find(tensor);
  return it == m_tensorIndex.end() ? nullptr : &m_tensors[it->second];
}

void GgufFile::dequantize(const GgufTensor &tensor, std::span<float> out) const {
  XQS_ASSERT(static_cast<Index>(out.size()) == tensor.elements);
  const BlockType &type = *tensor.type;
  const Index blocks = tensor.elements / type.blockElements, most = kDequantizeBytes / type.blockBytes;
  std::vector<std::byte> bytes(static_cast<std::size_t>(std::min(blocks, most) * type.blockBytes));
  for (Index block = 0; block < blocks; block += most) {
    const Index count = std::min(most, blocks - block);
    m_file.read(tensor.dataOffset + static_cast<std::uint64_t>(block * type.blockBytes),
                std::span(bytes).first(static_cast<std::size_t>(count * type.blockBytes)));
    type.dequantize(bytes.data(), count, out.data() + block * type.blockElements);
  }
}

const GgufValue *GgufFile::value(std::string_view key) const {
  const auto it = m_values.find(key);
  return it == m_values.end() ? nullptr : &it->second;
}

std::optional<std::string_view> GgufFile::string(std::string_view key) const {
  const GgufValue *v = value(key);
  if (v == nullptr) return std::nullopt;
  if (v->type != GgufType::String) bad("metadata " + quoted(key) + " is not text", v->offset);
  std::uint64_t length;
  std::memcpy(&length, m_header.data() + v->offset, 8);
  return std::string_view(reinterpret_cast<const char *>(m_header.data()) + v->offset + 8, length);
}

std::optional<std::int64_t> GgufFile::integer(std::string_view key) const {
  const GgufValue *v = value(key);
  if (v == nullptr) return std::nullopt;
  const std::byte *p = m_header.data() + v->offset;
  const auto as = [&]<typename T>(T number) {
    std::memcpy(&number, p, sizeof number);
    return number;
  };
  switch (v->type) {
  case GgufType::U8: return as(std::uint8_t{});
  case GgufType::I8: return as(std::int8_t{});
  case GgufType::U16: return as(std::uint16_t{});
  case GgufType::I16: return as(std::int16_t{});
  case GgufType::U32: return as(std::uint32_t{});
  case GgufType::I32: return as(std::int32_t{});
  case GgufType::I64: return as(std::int64_t{});
  case GgufType::U64: {
    const auto number = as(std::uint64_t{});
    if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      bad(fmt::format("metadata {} has the absurd value {}", quoted(key), number), v->offset);
    return static_cast<std::int64_t>(number);
  }
  default: bad("metadata " + quoted(key) + " is not a whole number", v->offset);
  }
}

std::optional<double> GgufFile::number(std::string_view key) const {
  const GgufValue *v = value(key);
  if (v == nullptr) return std::nullopt;
  const std::byte *p = m_header.data() + v->offset;
  if (v->type == GgufType::F32) {
    float number;
    std::memcpy(&number, p, sizeof number);
    return number;
  }
  if (v->type == GgufType::F64) {
    double number;
    std::memcpy(&number, p, sizeof number);
    return number;
  }
  return static_cast<double>(*integer(key));
}

std::optional<bool> GgufFile::boolean(std::string_view key) const {
  const GgufValue *v = value(key);
  if (v == nullptr) return std::nullopt;
  if (v->type != GgufType::Bool) bad("metadata " + quoted(key) + " is not true or false", v->offset);
  return std::to_integer<int>(m_header[v->offset]) != 0;
}

const GgufValue *GgufFile::arrayOf(std::string_view key, GgufType a, GgufType b) const {
  const GgufValue *v = value(key);
  if (v != nullptr && (v->type != GgufType::Array || (v->elementType != a && v->elementType != b)))
    bad("metadata " + quoted(key) + " is not a list of the right type", v->offset);
  return v;
}

std::vector<std::string_view> GgufFile::strings(std::string_view key) const {
  const GgufValue *v = arrayOf(key, GgufType::String, GgufType::String);
  if (v == nullptr) return {};
  std::vector<std::string_view> list;
  list.reserve(v->count);
  const char *p = reinterpret_cast<const char *>(m_header.data()) + v->offset;
  for (std::uint64_t i = 0; i < v->count; ++i) {
    std::uint64_t length;
    std::memcpy(&length, p, 8);
    list.emplace_back(p + 8, length);
    p += 8 + length;
  }
  return list;
}

std::vector<float> GgufFile::floats(std::string_view key) const {
  const GgufValue *v = arrayOf(key, GgufType::F32, GgufType::F32);
  if (v == nullptr) return {};
  std::vector<float> list(v->count);
  if (!list.empty()) std::memcpy(list.data(), m_header.data() + v->offset, list.size() * sizeof(float));
  return list;
}

std::vector<std::int32_t> GgufFile::integers(std::string_view key) const {
  const GgufValue *v = arrayOf(key, GgufType::I32, GgufType::U32);
  if (v == nullptr) return {};
  std::vector<std::int32_t> list(v->count);
  if (!list.empty()) std::memcpy(list.data(), m_header.data() + v->offset, list.size() * sizeof(std::int32_t));
  return list;
}

void GgufFile::bad(const std::string &what, std::uint64_t offset, const std::string &remedy) const {
  throw Error(Code::BadFile, fmt::format("{}: {} at byte {}: {}", path(), what, offset, remedy));
}

void GgufFile::unsupported(const std::string &what, const std::string &remedy) const {
  throw Error(Code::Unsupported, fmt::format("{}: {}; {}", path(), what, remedy));
}

} // namespace xqs
