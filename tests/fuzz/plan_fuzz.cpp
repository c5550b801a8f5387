// SPDX-License-Identifier: Apache-2.0
// A plan is read as a policy string and as a file; what is accepted means the same when it is written and read again.
#include "cache/layout.h"
#include "cache/plan.h"
#include "error.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

namespace {

using namespace xqs;

/// A file that exists in memory only.
class MemoryFile {
public:
  MemoryFile() : m_fd(memfd_create("plan", 0)) {
    if (m_fd < 0) __builtin_trap();
  }
  ~MemoryFile() { close(m_fd); }
  MemoryFile(const MemoryFile &) = delete;
  MemoryFile &operator=(const MemoryFile &) = delete;
  std::string holding(std::string_view bytes) {
    if (ftruncate(m_fd, 0) != 0 || pwrite(m_fd, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
      __builtin_trap();
    return "/proc/self/fd/" + std::to_string(m_fd);
  }

private:
  int m_fd;
};

void check(const PolicySpec &plan, MemoryFile &file) {
  const std::string canonical = plan.canonical();
  if (PolicySpec::parse(canonical).canonical() != canonical) __builtin_trap();
  if (PolicySpec::parse("plan:@" + file.holding(planFile(plan))).canonical() != canonical) __builtin_trap();
  cacheLayout(plan, {.layers = 3, .d = 32, .heads = 4, .kvHeads = 2, .dh = 8});
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  static MemoryFile written, read;
  const std::string_view bytes(reinterpret_cast<const char *>(data), size);
  for (const std::string &policy : {"plan:" + std::string(bytes), "plan:@" + read.holding(bytes)}) {
    try {
      check(PolicySpec::parse(policy), written);
    } catch (const Error &) {
    }
  }
  return 0;
}
