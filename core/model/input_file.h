// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace xqs {

/// A regular file, read at any place by any thread. Anything else (directory, FIFO, device) is refused without being opened,
/// so that nothing blocks. Not memory-mapped: reading a mapping beyond the end of a file that has shrunk since would end the
/// process, here it is an error.
class InputFile {
public:
  /// `what` names it in messages ("text"). Throws NotFound or Unreadable.
  explicit InputFile(const std::string &path, std::string_view what = {});
  ~InputFile();
  InputFile(const InputFile &) = delete;
  InputFile &operator=(const InputFile &) = delete;

  const std::string &path() const { return m_path; }
  std::uint64_t size() const { return m_size; } ///< bytes, when it was opened
  /// Fills `out` from byte `offset` on. Throws Unreadable where the file does not have these bytes any more, or on I/O
  /// errors.
  void read(std::uint64_t offset, std::span<std::byte> out) const;

private:
  std::string m_path, m_name; // the second as in messages
  int m_fd = -1;
  std::uint64_t m_size = 0;
};

/// The bytes of a regular file, at most `maxBytes`. Throws NotFound, Unreadable.
std::string readRegularFile(const std::string &path, std::string_view what, std::size_t maxBytes);

} // namespace xqs
