// SPDX-License-Identifier: Apache-2.0
#include "run/backends.h"

#include "error.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>

using namespace xqs;
namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

namespace {

// Two built-in modules: one that works, one that says why it does not.
// ------------------------------------------------------

class StubBackend final : public Backend {
public:
  const char *name() const override { return "stub"; }
  std::string device() const override { return "none"; }
  bool hostVisible() const override { return true; }
  void upload(Queue, std::byte *, const void *, Index) override {}
  void download(Queue, void *, const std::byte *, Index) override {}
  void copy(Queue, ConstView, View) override {}

protected:
  std::byte *allocateBytes(Index, Purpose, Placement) override { return nullptr; }
  void releaseBytes(const Buffer &) noexcept override {}
};

int destroyed = 0;
int threadsAsked = 0;
Backend *createStub(int threads) {
  threadsAsked = threads;
  return new StubBackend;
}
void destroyStub(Backend *backend) {
  ++destroyed;
  delete backend;
}
const char *usable() { return nullptr; }
const char *broken() { return "its processor is on holiday"; }

constexpr XqsBackendModule kStub = {kBackendAbi, "stub", "does nothing", usable, createStub, destroyStub};
constexpr XqsBackendModule kIdle = {kBackendAbi, "idle", "never usable", broken, createStub, destroyStub};
constexpr std::array<const XqsBackendModule *, 2> kBuiltIn = {&kStub, &kIdle};

/// An empty directory named by $XQSCOPE_BACKEND_PATH.
class Backends : public testing::Test {
protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "xqs_backends_XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    m_directory = name;
    setenv("XQSCOPE_BACKEND_PATH", name.c_str(), 1);
  }
  void TearDown() override {
    unsetenv("XQSCOPE_BACKEND_PATH");
    fs::remove_all(m_directory);
  }
  /// The row of the module in `file` of the directory.
  BackendInfo rowOf(const std::string &file) {
    for (const BackendInfo &info : listBackends(kBuiltIn))
      if (info.from == (m_directory / file).string()) return info;
    ADD_FAILURE() << file << " is not listed";
    return {};
  }
  fs::path m_directory;
};

/// The message of the Error that `fn` throws.
template <typename Fn> std::string messageOf(const Fn &fn) {
  try {
    fn();
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), Code::BackendUnusable);
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

} // namespace

TEST_F(Backends, BuiltInOnesComeFirstAndAreCreated) {
  const auto list = listBackends(kBuiltIn);
  ASSERT_GE(list.size(), 2u);
  EXPECT_EQ(list[0].name, "stub");
  EXPECT_EQ(list[0].from, "built in");
  EXPECT_TRUE(list[0].usable());
  EXPECT_EQ(list[1].reason, "its processor is on holiday");

  destroyed = 0;
  {
    const BackendPtr backend = createBackend(list, "stub", 3);
    EXPECT_STREQ(backend->name(), "stub");
    EXPECT_EQ(threadsAsked, 3);
  }
  EXPECT_EQ(destroyed, 1) << "the module's own destroy must run";
}

TEST_F(Backends, UnknownNameListsTheUsableOnes) {
  const auto list = listBackends(kBuiltIn);
  const std::string message = messageOf([&] { createBackend(list, "gpu", 0); });
  EXPECT_THAT(message, AllOf(HasSubstr("'gpu'"), HasSubstr("available: stub")));
  EXPECT_THAT(message, testing::Not(HasSubstr("idle")));
}

TEST_F(Backends, UnusableOneSaysWhy) {
  const auto list = listBackends(kBuiltIn);
  EXPECT_THAT(messageOf([&] { createBackend(list, "idle", 0); }),
              AllOf(HasSubstr("its processor is on holiday"), HasSubstr("available: stub")));
}

TEST_F(Backends, SecondOfANameIsListedAndNotUsed) {
  const std::array<const XqsBackendModule *, 2> twice = {&kStub, &kStub};
  const auto list = listBackends(twice);
  EXPECT_TRUE(list[0].usable());
  EXPECT_EQ(list[1].reason, "another backend of this name comes first (built in)");
  EXPECT_STREQ(createBackend(list, "stub", 1)->name(), "stub");
}

TEST_F(Backends, ModuleOfAnotherInterfaceVersionIsRefused) {
  fs::copy_file(XQS_TEST_MODULE_WRONG_ABI, m_directory / "libxqs_stranger.so");
  const BackendInfo row = rowOf("libxqs_stranger.so");
  EXPECT_EQ(row.name, "stranger");
  EXPECT_EQ(row.module, nullptr);
  EXPECT_EQ(row.reason, "its interface has version " + std::to_string(kBackendAbi + 98) + ", this program needs " +
                            std::to_string(kBackendAbi) + ": use the module built with this program");
}

TEST_F(Backends, FilesThatAreNoModulesAreRows) {
  std::ofstream(m_directory / "libxqs_text.so") << "not a library\n";
  std::ofstream(m_directory / "libxqs_empty.so");
  fs::create_directory(m_directory / "libxqs_folder.so");
  fs::create_symlink("nowhere", m_directory / "libxqs_dangling.so");
  ASSERT_EQ(mkfifo((m_directory / "libxqs_fifo.so").c_str(), 0600), 0);
  fs::copy_file(XQS_TEST_MODULE_NO_ENTRY, m_directory / "libxqs_other.so");

  EXPECT_THAT(rowOf("libxqs_text.so").reason, HasSubstr("cannot be loaded"));
  EXPECT_THAT(rowOf("libxqs_empty.so").reason, HasSubstr("cannot be loaded"));
  EXPECT_EQ(rowOf("libxqs_folder.so").reason, "not a readable file");
  EXPECT_EQ(rowOf("libxqs_dangling.so").reason, "not a readable file");
  EXPECT_EQ(rowOf("libxqs_fifo.so").reason, "not a readable file");
  EXPECT_EQ(rowOf("libxqs_other.so").reason, "exports no xqsBackendModule");

  const auto list = listBackends(kBuiltIn);
  EXPECT_THAT(messageOf([&] { createBackend(list, "text", 0); }), HasSubstr("cannot be loaded"));
}

TEST_F(Backends, OtherFilesAreIgnoredAndADirectoryNamedTwiceIsReadOnce) {
  std::ofstream(m_directory / "libother.so");
  std::ofstream(m_directory / "libxqs_.so");
  std::ofstream(m_directory / "libxqs_text.so") << "x";
  const auto once = listBackends(kBuiltIn).size();
  setenv("XQSCOPE_BACKEND_PATH", fmt::format(":{0}:{0}/.:", m_directory.string()).c_str(), 1);
  EXPECT_EQ(listBackends(kBuiltIn).size(), once);
  fs::remove(m_directory / "libxqs_text.so");
  EXPECT_EQ(listBackends(kBuiltIn).size(), once - 1);
}

TEST_F(Backends, NamedDirectoryThatIsMissingIsARow) {
  fs::remove_all(m_directory);
  const auto list = listBackends(kBuiltIn);
  const auto row = std::ranges::find(list, m_directory.string(), &BackendInfo::from); // a CUDA module may come after it
  ASSERT_NE(row, list.end());
  EXPECT_THAT(row->reason, HasSubstr("cannot be read"));
}

TEST(ChooseBackend, AutoIsCudaWhereItCanBeUsed) {
  const auto row = [](const char *name, const char *reason) { return BackendInfo{name, "", "somewhere", reason, &kStub}; };
  const std::vector<BackendInfo> none = {row("cpu", "")},
                                 broken = {row("cpu", ""), row("cuda", "no GPU"), row("cuda", "2nd")},
                                 good = {row("cpu", ""), row("cuda", "old"), row("cuda", "")};
  EXPECT_EQ(chooseBackend(none, "auto").name, "cpu");
  EXPECT_THAT(chooseBackend(none, "auto").note, HasSubstr("libxqs_cuda.so"));
  EXPECT_EQ(chooseBackend(broken, "auto").name, "cpu");
  EXPECT_EQ(chooseBackend(broken, "auto").note, "CUDA is not used: no GPU");
  EXPECT_EQ(chooseBackend(good, "auto").name, "cuda");
  EXPECT_EQ(chooseBackend(good, "auto").note, "");
  for (const char *name : {"cpu", "cuda", "abacus"}) {
    EXPECT_EQ(chooseBackend(broken, name).name, name) << "what was asked for by name";
    EXPECT_EQ(chooseBackend(broken, name).note, "");
  }
}

TEST(ChooseBackend, ADevicesFaultsAreNotTheHosts) {
  EXPECT_TRUE(isDeviceFault(Code::OutOfMemory, "cuda"));
  EXPECT_TRUE(isDeviceFault(Code::BackendUnusable, "cuda"));
  EXPECT_FALSE(isDeviceFault(Code::OutOfMemory, "cpu"));
  EXPECT_FALSE(isDeviceFault(Code::BackendUnusable, "reference"));
  for (const Code code : {Code::Usage, Code::Cancelled, Code::StoreUnwritable, Code::NotFound, Code::Internal})
    EXPECT_FALSE(isDeviceFault(code, "cuda"));
}

TEST_F(Backends, JsonHasOneObjectARow) {
  const std::array<const XqsBackendModule *, 1> one = {&kIdle};
  auto rows = listBackends(one);
  rows.resize(1);
  EXPECT_EQ(backendsToJson(rows).dump(), R"([{"description":"never usable","from":"built in","name":"idle",)"
                                         R"("reason":"its processor is on holiday","usable":false}])");
  rows[0].reason.clear();
  EXPECT_TRUE(backendsToJson(rows)[0]["reason"].is_null());
}

// The CUDA module, where nvcc built it: it lies beside this program.
// ----------------------------------------------------------

TEST_F(Backends, CudaModuleLoadsAndSaysWhetherItCanBeUsed) {
  const fs::path expected = fs::read_symlink("/proc/self/exe").parent_path() / "libxqs_cuda.so";
  if (!fs::exists(expected)) GTEST_SKIP() << "no nvcc built libxqs_cuda.so";
  const auto list = listBackends({});
  const auto cuda = std::find_if(list.begin(), list.end(), [](const BackendInfo &i) { return i.name == "cuda"; });
  ASSERT_NE(cuda, list.end());
  ASSERT_NE(cuda->module, nullptr) << cuda->reason;
  EXPECT_EQ(cuda->from, expected.string());
  if (cuda->usable()) {
    EXPECT_STREQ(createBackend(list, "cuda", 0)->name(), "cuda");
    return;
  }
  std::cout << "[          ] cuda: " << cuda->reason << '\n';
  EXPECT_THAT(messageOf([&] { createBackend(list, "cuda", 0); }), HasSubstr(cuda->reason));
  // Thrown inside the module, whose type information is hidden: it must be caught as Error here all the same.
  EXPECT_THAT(messageOf([&] { cuda->module->create(0); }), HasSubstr(cuda->reason));
}
