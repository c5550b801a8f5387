// SPDX-License-Identifier: Apache-2.0
#include "store_files.h"

#include "error.h"
#include "schema.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace xqs::store_files {
namespace fs = std::filesystem;
namespace {

fs::path suffixed(const fs::path &store, const char *suffix) { return fs::path(store) += suffix; }
fs::path lockOf(const fs::path &store) { return suffixed(store, "-writer"); }

const char *kindName(const struct stat &info) {
  if (S_ISDIR(info.st_mode)) return "a directory";
  if (S_ISFIFO(info.st_mode)) return "a pipe";
  if (S_ISSOCK(info.st_mode)) return "a socket";
  return "a device";
}

/// Open-file-description lock of the whole file: held by the descriptor, so that two stores in one process see each other.
bool lockDescriptor(int descriptor, short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return fcntl(descriptor, F_OFD_SETLK, &lock) == 0;
}

/// Removes what a killed writer left, unless a new one has taken it meanwhile.
void removeDeadLock(const fs::path &lock) {
  const int descriptor = ::open(lock.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
  if (descriptor < 0) return;
  if (lockDescriptor(descriptor, F_WRLCK)) ::unlink(lock.c_str());
  ::close(descriptor);
}

/// Where SQLite answers at all, a connection; content is not looked at.
std::unique_ptr<sqlite::Database> connect(const fs::path &store) {
  using Access = sqlite::Database::Access;
  constexpr int kBusyTimeoutMs = 1000; // a writer in journal_mode=DELETE holds the file for one commit
  constexpr const char *kProbe = "SELECT count(*) FROM sqlite_master"; // reads the first page
  auto db = std::make_unique<sqlite::Database>(store, Access::Read, kBusyTimeoutMs);
  const int rc = db->tryExec(kProbe);
  if (rc == SQLITE_OK) return db;
  // A file in WAL mode needs a -wal and a -shm beside it; where they cannot be made, and none holds rows, it cannot change.
  const int primary = rc & 0xff;
  if ((primary != SQLITE_CANTOPEN && primary != SQLITE_READONLY) || fs::exists(walOf(store)) || fs::exists(journalOf(store)))
    db->fail(rc);
  db = std::make_unique<sqlite::Database>(store, Access::Immutable, kBusyTimeoutMs);
  if (const int again = db->tryExec(kProbe); again != SQLITE_OK) db->fail(again);
  return db;
}

} // namespace

fs::path walOf(const fs::path &store) { return suffixed(store, "-wal"); }
fs::path journalOf(const fs::path &store) { return suffixed(store, "-journal"); }

void requireReadable(const fs::path &store) {
  struct stat info {};
  if (::stat(store.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR)
      throw Error(Code::NotFound, fmt::format("{} does not exist: check the name", store.string()));
    throw Error(Code::Unreadable,
                fmt::format("cannot read {}: {}; check its permissions", store.string(), std::strerror(errno)));
  }
  if (!S_ISREG(info.st_mode))
    throw Error(Code::Unreadable, fmt::format("{} is {}, not a file: choose a .xqs file", store.string(), kindName(info)));
  if (::access(store.c_str(), R_OK) != 0)
    throw Error(Code::Unreadable,
                fmt::format("cannot read {}: {}; check its permissions", store.string(), std::strerror(errno)));
  if (info.st_size == 0 && !fs::exists(journalOf(store)))
    throw Error(Code::BadFile, fmt::format("{} is empty, not an XQScope store: choose a .xqs file", store.string()));
}

void requireWritable(const fs::path &store) {
  const fs::path folder = fs::absolute(store).parent_path();
  struct stat info {};
  if (::stat(folder.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
    throw Error(Code::StoreUnwritable,
                fmt::format("cannot write {}: there is no folder {}; create it or choose another file", store.string(),
                            folder.string()));
  if (::stat(store.c_str(), &info) == 0 && !S_ISREG(info.st_mode))
    throw Error(Code::StoreUnwritable,
                fmt::format("cannot write {}: it is {}; choose a file name", store.string(), kindName(info)));
  if (::access(folder.c_str(), W_OK) != 0 || (::access(store.c_str(), F_OK) == 0 && ::access(store.c_str(), W_OK) != 0))
    throw Error(Code::StoreUnwritable, fmt::format("cannot write {}: {}; choose a file in a folder that you can write",
                                                   store.string(), std::strerror(errno)));
}

WriterLock::WriterLock(const fs::path &store) : m_file(lockOf(store)) {
  while (true) {
    m_descriptor = ::open(m_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (m_descriptor < 0)
      throw Error(Code::StoreUnwritable, fmt::format("cannot create {}: {}; free space there or choose another folder",
                                                     m_file.string(), std::strerror(errno)));
    const bool locked = lockDescriptor(m_descriptor, F_RDLCK);
    const int reason = errno;
    struct stat held {
    }, named{};
    // A writer that just left may have removed the file that we opened: then take the new one.
    const bool same = ::fstat(m_descriptor, &held) == 0 && ::stat(m_file.c_str(), &named) == 0 &&
                      held.st_ino == named.st_ino && held.st_dev == named.st_dev;
    if (locked && same) return;
    ::close(m_descriptor);
    m_descriptor = -1;
    if (!locked && reason != EAGAIN && reason != EACCES)
      throw Error(Code::StoreUnwritable, fmt::format("cannot lock {}: {}; choose a folder on a local disk", m_file.string(),
                                                     std::strerror(reason)));
    ::usleep(1000);
  }
}

void WriterLock::release() {
  if (m_descriptor < 0) return;
  if (lockDescriptor(m_descriptor, F_WRLCK)) ::unlink(m_file.c_str()); // no other writer is left
  ::close(m_descriptor);
  m_descriptor = -1;
}

bool writerAlive(const fs::path &store) {
  const int descriptor = ::open(lockOf(store).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
  if (descriptor < 0) return errno == EACCES; // someone else's: they may be writing
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  const bool queried = fcntl(descriptor, F_OFD_GETLK, &lock) == 0;
  ::close(descriptor);
  return queried && lock.l_type != F_UNLCK;
}

bool settle(const fs::path &store) noexcept try {
  const fs::path folder = fs::absolute(store).parent_path();
  if (::access(store.c_str(), W_OK) != 0 || ::access(folder.c_str(), W_OK) != 0 || writerAlive(store)) return false;
  sqlite::Database db(store, sqlite::Database::Access::Write, 100);
  if (db.integer("PRAGMA application_id") != schema::kApplicationId) return false;
  if (db.tryExec("PRAGMA wal_checkpoint(TRUNCATE)") != 0) return false;
  if (db.text("PRAGMA journal_mode = DELETE") != "delete") return false;
  removeDeadLock(lockOf(store));
  return true;
} catch (const Error &) {
  return false; // the reader goes on with what it can see
}

std::unique_ptr<sqlite::Database> openForReading(const fs::path &store) {
  requireReadable(store);
  if (fs::exists(journalOf(store))) settle(store); // only a writer may play back a rollback journal
  auto db = connect(store);
  schema::check(*db);
  // Without a writer the file should be one file: recover the -wal that a crash left.
  if (db->text("PRAGMA journal_mode") == "wal" && !writerAlive(store)) {
    db.reset();
    settle(store);
    db = connect(store);
    schema::check(*db);
  }
  return db;
}

} // namespace xqs::store_files
