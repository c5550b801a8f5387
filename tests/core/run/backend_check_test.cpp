// SPDX-License-Identifier: Apache-2.0
// A device proves itself against the CPU before it is used: once a process, and again where it could not or did not.
#include "cpu_backends.h"
#include "reference_backend.h"
#include "run/session.h"

#include <gmock/gmock.h>

#include <limits>

using namespace xqs;

namespace {

struct Far {
  bool wrong = false;
  int memory = std::numeric_limits<int>::max(); ///< allocations that succeed
  int hosts = 0;                                ///< CPU backends that it was compared with
} far;

/// The reference backend, as if it were beyond a bus.
class FarBackend final : public ReferenceBackend {
public:
  using ReferenceBackend::ReferenceBackend;
  const char *name() const override { return "far"; }
  std::string device() const override { return "a device of this test"; }
  bool hostVisible() const override { return false; }
  void siluMul(Queue queue, ConstView gate, ConstView up, View out) override {
    ReferenceBackend::siluMul(queue, gate, up, out);
    if (far.wrong) ReferenceBackend::scale(queue, out, 3);
  }

protected:
  std::byte *allocateBytes(Index bytes, Purpose purpose, Placement placement) override {
    return --far.memory < 0 ? nullptr : ReferenceBackend::allocateBytes(bytes, purpose, placement);
  }
};

constexpr XqsBackendModule kFar = {kBackendAbi,
                                   "far",
                                   "beyond a bus",
                                   [] { return static_cast<const char *>(nullptr); },
                                   [](int threads) -> Backend * { return new FarBackend(threads); },
                                   [](Backend *backend) { delete backend; }};
const XqsBackendModule kCpu = {kBackendAbi,
                               "cpu",
                               "the trusted one",
                               [] { return static_cast<const char *>(nullptr); },
                               [](int threads) { return ++far.hosts, cpuBackendModule()->create(threads); },
                               [](Backend *backend) { cpuBackendModule()->destroy(backend); }};

std::unique_ptr<Session> open() {
  static const XqsBackendModule *const kBuiltIn[] = {&kFar, &kCpu};
  static const std::vector<BackendInfo> kBackends = listBackends(kBuiltIn);
  SessionOptions options;
  options.model = "synthetic:layers=1,d=32,heads=2,kv_heads=1,vocab=256", options.backend = "far", options.threads = 1;
  return std::make_unique<Session>(options, kBackends);
}

Code refusal() {
  try {
    open();
  } catch (const Error &error) {
    return error.code();
  }
  ADD_FAILURE() << "opened";
  return Code::Internal;
}

TEST(BackendCheck, ADeviceProvesItselfOnceAProcess) {
  far = {};
  far.wrong = true;
  for (int i = 1; i <= 2; ++i) {
    EXPECT_EQ(refusal(), Code::BackendUnusable);
    EXPECT_EQ(far.hosts, i) << "it is asked again";
  }
  far.wrong = false, far.memory = 0;
  EXPECT_EQ(refusal(), Code::OutOfMemory) << "nothing was compared";
  far = {};
  open();
  EXPECT_EQ(far.hosts, 1);
  open();
  EXPECT_EQ(far.hosts, 1) << "nor once it agreed";
}

} // namespace
