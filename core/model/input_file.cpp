// SPDX-License-Identifier: Apache-2.0
#include "input_file.h"

#include "error.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace xqs {
namespace {

[[noreturn]] void failed(const std::string &name, int error) {
  if (error == ENOENT || error == ENOTDIR) throw Error(Code::NotFound, name + ": no such file; check the path");
  throw Error(Code::Unreadable,
              name + ": cannot be read (" + std::strerror(error) + "); check its permissions and the disk");
}

void requireRegular(const std::string &name, mode_t mode) {
  if (S_ISREG(mode)) return;
  const char *kind = S_ISDIR(mode) ? "a directory" : S_ISFIFO(mode) ? "a pipe" : S_ISSOCK(mode) ? "a socket" : "a device";
  throw Error(Code::Unreadable, name + ": is " + kind + ", not a file; give the path of a file");
}

} // namespace

InputFile::InputFile(const std::string &path, std::string_view what) : m_path(path.substr(0, path.find('\0'))) {
  m_name = what.empty() ? m_path : fmt::format("{} '{}'", what, m_path);
  if (m_path.size() != path.size()) failed(m_name, ENOENT);
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) failed(m_name, errno);
  requireRegular(m_name, info.st_mode);
  m_fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (m_fd < 0) failed(m_name, errno);
  try {
    if (::fstat(m_fd, &info) != 0) failed(m_name, errno);
    requireRegular(m_name, info.st_mode); // it may have been replaced since it was looked at
  } catch (...) {
    ::close(m_fd);
    throw;
  }
  m_size = static_cast<std::uint64_t>(info.st_size);
}

InputFile::~InputFile() { ::close(m_fd); }

void InputFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got = ::pread(m_fd, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) failed(m_name, errno);
    if (got == 0)
      throw Error(Code::Unreadable, fmt::format("{}: byte {} is gone, of {} that the file had when it was opened: something "
                                                "changes it; wait until it is complete and open it again",
                                                m_name, offset, m_size));
    offset += static_cast<std::uint64_t>(got);
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

std::string readRegularFile(const std::string &path, std::string_view what, std::size_t maxBytes) {
  const InputFile file(path, what);
  if (file.size() > maxBytes)
    throw Error(Code::Unreadable,
                fmt::format("{} '{}' has {} bytes, at most {} are accepted; cut it", what, path, file.size(), maxBytes));
  std::string bytes(file.size(), '\0');
  file.read(0, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

} // namespace xqs
