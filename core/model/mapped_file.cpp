// SPDX-License-Identifier: Apache-2.0
#include "mapped_file.h"

#include "error.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace xqs {
namespace {

[[noreturn]] void failed(const std::string &path, int error) {
  if (error == ENOENT || error == ENOTDIR) throw Error(Code::NotFound, path + ": no such file; check the path");
  throw Error(Code::Unreadable,
              path + ": cannot be read (" + std::strerror(error) + "); check its permissions and the disk");
}

void requireRegular(const std::string &path, mode_t mode) {
  if (S_ISREG(mode)) return;
  const char *kind = S_ISDIR(mode) ? "a directory" : S_ISFIFO(mode) ? "a pipe" : S_ISSOCK(mode) ? "a socket" : "a device";
  throw Error(Code::Unreadable, path + ": is " + kind + ", not a file; give the path of a model file");
}

} // namespace

MappedFile::MappedFile(const std::string &path) : m_path(path) {
  if (path.find('\0') != std::string::npos) failed(path.substr(0, path.find('\0')), ENOENT);
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) failed(path, errno);
  requireRegular(path, info.st_mode);
  const int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) failed(path, errno);
  struct Close {
    int fd;
    ~Close() { ::close(fd); }
  } const closeAtEnd{fd};
  if (::fstat(fd, &info) != 0) failed(path, errno);
  requireRegular(path, info.st_mode); // it may have been replaced since it was looked at
  if (info.st_size == 0) return;
  const auto size = static_cast<std::size_t>(info.st_size);
  void *data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED) failed(path, errno);
  m_bytes = {static_cast<const std::byte *>(data), size};
}

MappedFile::~MappedFile() {
  if (!m_bytes.empty()) ::munmap(const_cast<std::byte *>(m_bytes.data()), m_bytes.size());
}

} // namespace xqs
