// SPDX-License-Identifier: Apache-2.0
#pragma once

// Images of the fake CUPTI, which programs keep as bytes: a configuration, and counter data of ranges or samples.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace xqs::fake {

struct Config {
  static constexpr std::uint64_t kMagic = 0x434f4e46;
  std::uint64_t magic = kMagic, passes = 1;
};

/// What was counted in one range or between two samples.
struct Entry {
  char name[24] = {};
  std::int64_t startNs = 0, endNs = 0; ///< of the steady clock
  double read = 0, written = 0;        ///< bytes
  double cycles = 0, nanoseconds = 0;
};

/// Header and entries.
struct CounterData {
  static constexpr std::uint64_t kMagic = 0x44415441;
  std::uint64_t magic = kMagic, capacity = 0, count = 0;

  static std::size_t bytesFor(std::size_t capacity) { return sizeof(CounterData) + capacity * sizeof(Entry); }
  static CounterData headerOf(const std::uint8_t *image) {
    CounterData header;
    std::memcpy(&header, image, sizeof header);
    return header;
  }
  static Entry entryOf(const std::uint8_t *image, std::size_t index) {
    Entry entry;
    std::memcpy(&entry, image + sizeof(CounterData) + index * sizeof entry, sizeof entry);
    return entry;
  }
  static void write(std::uint8_t *image, const std::vector<Entry> &entries) {
    CounterData header = headerOf(image);
    header.count = entries.size();
    std::memcpy(image, &header, sizeof header);
    if (!entries.empty()) std::memcpy(image + sizeof header, entries.data(), entries.size() * sizeof(Entry));
  }
  static void clear(std::uint8_t *image, std::size_t bytes) {
    const CounterData header{kMagic, (bytes - sizeof(CounterData)) / sizeof(Entry), 0};
    std::memcpy(image, &header, sizeof header);
  }
};

} // namespace xqs::fake
