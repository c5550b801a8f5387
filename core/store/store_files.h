// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sqlite.h"

#include <filesystem>

/// What lies beside a store and who holds it. The store itself is never opened here except through SQLite: closing any other
/// descriptor of it would drop SQLite's POSIX locks in this process.
namespace xqs::store_files {

std::filesystem::path walOf(const std::filesystem::path &store);     ///< `<store>-wal`
std::filesystem::path journalOf(const std::filesystem::path &store); ///< `<store>-journal`

/// Throws NotFound, Unreadable (directory, FIFO, device, no permission) or BadFile (empty): by stat alone, so that nothing
/// hangs.
void requireReadable(const std::filesystem::path &store);
/// Throws StoreUnwritable where the file cannot be one that we write: folder missing, a directory, FIFO or device.
void requireWritable(const std::filesystem::path &store);

/// Held while a RunStore is open: a shared lock on `<store>-writer`, which the last writer removes. It tells a run in
/// progress from one that crashed: the system drops the lock of a killed process.
class WriterLock {
public:
  /// Throws StoreUnwritable.
  explicit WriterLock(const std::filesystem::path &store);
  ~WriterLock() { release(); }
  WriterLock(const WriterLock &) = delete;
  WriterLock &operator=(const WriterLock &) = delete;
  void release();

private:
  std::filesystem::path m_file;
  int m_descriptor = -1;
};

/// True while a WriterLock of any process exists.
bool writerAlive(const std::filesystem::path &store);

/// Where no writer is left and nobody else has the store open: recovers its -wal or -journal and returns to
/// journal_mode=DELETE, so that it is one file again. False where that is not possible now; never throws.
bool settle(const std::filesystem::path &store) noexcept;

/// A read-only connection to a finished, live or crashed store, settled before where that is possible; immutable where the
/// folder cannot be written and no -wal is there. Throws NotFound, Unreadable, BadFile.
std::unique_ptr<sqlite::Database> openForReading(const std::filesystem::path &store);

} // namespace xqs::store_files
