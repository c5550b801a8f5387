// SPDX-License-Identifier: Apache-2.0
#include "calibrate/float_file.h"

#include <fmt/format.h>

#include <bit>
#include <fstream>
#include <string>
#include <unistd.h>

namespace xqs {
namespace {

template <typename Array> std::uint64_t checksum(std::span<Array *const> arrays) {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (const auto *values : arrays)
    for (const float v : *values) hash = (hash ^ std::bit_cast<std::uint32_t>(v)) * 0x100000001b3ull;
  return hash;
}

std::streamsize bytesOf(std::size_t count, std::size_t size) { return static_cast<std::streamsize>(count * size); }

} // namespace

bool readFloatFile(const std::filesystem::path &file, std::string_view magic, std::span<std::int64_t> numbers,
                   std::span<std::vector<float> *const> arrays) {
  std::ifstream in(file, std::ios::binary);
  std::string start(magic.size(), '\0');
  std::uint64_t sum = 0;
  if (!in.read(start.data(), bytesOf(start.size(), 1)) || start != magic) return false;
  if (!in.read(reinterpret_cast<char *>(numbers.data()), bytesOf(numbers.size(), sizeof(std::int64_t)))) return false;
  if (!in.read(reinterpret_cast<char *>(&sum), sizeof sum)) return false;
  for (auto *values : arrays)
    if (!in.read(reinterpret_cast<char *>(values->data()), bytesOf(values->size(), sizeof(float)))) return false;
  return sum == checksum(arrays);
}

bool writeFloatFile(const std::filesystem::path &file, std::string_view magic, std::span<const std::int64_t> numbers,
                    std::span<const std::vector<float> *const> arrays) {
  std::error_code error;
  std::filesystem::create_directories(file.parent_path(), error);
  const std::filesystem::path temporary = file.string() + fmt::format(".{}", getpid());
  {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    const std::uint64_t sum = checksum(arrays);
    out.write(magic.data(), bytesOf(magic.size(), 1));
    out.write(reinterpret_cast<const char *>(numbers.data()), bytesOf(numbers.size(), sizeof(std::int64_t)));
    out.write(reinterpret_cast<const char *>(&sum), sizeof sum);
    for (const auto *values : arrays)
      out.write(reinterpret_cast<const char *>(values->data()), bytesOf(values->size(), sizeof(float)));
    if (!out.flush()) {
      std::filesystem::remove(temporary, error);
      return false;
    }
  }
  std::filesystem::rename(temporary, file, error);
  return !error;
}

} // namespace xqs
