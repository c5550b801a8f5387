// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace xqs {

/// A regular file mapped read-only. Anything else (directory, FIFO, device) is refused without being opened, so that nothing
/// blocks. The file must not shrink while it is mapped: the engine process would be killed by SIGBUS, which the window
/// reports.
class MappedFile {
public:
  /// Throws NotFound or Unreadable. An empty file maps to no bytes.
  explicit MappedFile(const std::string &path);
  ~MappedFile();
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;

  const std::string &path() const { return m_path; }
  std::span<const std::byte> bytes() const { return m_bytes; }

private:
  std::string m_path;
  std::span<const std::byte> m_bytes;
};

} // namespace xqs
