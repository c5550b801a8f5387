// SPDX-License-Identifier: Apache-2.0
// A cache file is loaded and gone on from, or refused by an Error: as it is, and with sizes and checksum made right, so that
// what lies behind them is reached. Seeds: `generate --model synthetic:layers=2,d=16,heads=2,kv_heads=1,ffn=16,vocab=256
// --raw --cache-save`.
#include "cache/cache_file.h"
#include "cpu_backends.h"
#include "engine/engine.h"
#include "error.h"
#include "model/sha256.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace {

using namespace xqs;

constexpr std::size_t kFixedBytes = 24, kDigestBytes = 64;

struct Bench {
  std::unique_ptr<Backend, void (*)(Backend *)> backend{referenceBackendModule()->create(1),
                                                        referenceBackendModule()->destroy};
  std::unique_ptr<Model> model =
      Model::load(*openModel("synthetic:layers=2,d=16,heads=2,kv_heads=1,ffn=16,vocab=256"), *backend);
  Calibration calibration{*model, {}};
  Engine engine{*model};
  int fd = memfd_create("cache", 0);
};

/// The same bytes behind right sizes, where there is room for them, and before a right checksum.
std::string repaired(std::string bytes) {
  if (bytes.size() < kFixedBytes + kDigestBytes) return bytes;
  bytes.resize(bytes.size() - kDigestBytes);
  std::uint32_t header = 0;
  std::memcpy(&header, bytes.data() + 12, sizeof header);
  header = static_cast<std::uint32_t>(std::min<std::size_t>(header, bytes.size() - kFixedBytes));
  if (const std::size_t end = bytes.find('}', kFixedBytes); end != std::string::npos)
    header = static_cast<std::uint32_t>(end + 1 - kFixedBytes);
  const std::uint64_t payload = bytes.size() - kFixedBytes - header;
  std::memcpy(bytes.data(), "XQSCACHE\1\0\0\0", 12);
  std::memcpy(bytes.data() + 12, &header, sizeof header);
  std::memcpy(bytes.data() + 16, &payload, sizeof payload);
  return bytes + sha256Hex(std::as_bytes(std::span(bytes)));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  static Bench bench;
  const std::string raw(reinterpret_cast<const char *>(data), size);
  for (const std::string &bytes : {raw, repaired(raw)}) {
    if (ftruncate(bench.fd, 0) != 0 || pwrite(bench.fd, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
      __builtin_trap();
    try {
      const CacheFile file("/proc/self/fd/" + std::to_string(bench.fd));
      const Method method(file.policy(), *bench.model, bench.calibration);
      const auto cache = file.load(method, file.origin().calibration, 0, 1);
      if (cache->tokens() != std::ssize(file.origin().tokens)) __builtin_trap();
      if (file.origin().state == State::All) continue; // its window is complete
      Lane lane;
      lane.cache = cache.get();
      const TokenId next = 1;
      bench.engine.step({&lane, 1}, {&next, 1});
    } catch (const Error &) {
    }
  }
  return 0;
}
