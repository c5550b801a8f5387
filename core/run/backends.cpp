// SPDX-License-Identifier: Apache-2.0
#include "backends.h"

#include "backend_check.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <set>
#include <system_error>

namespace xqs {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kPrefix = "libxqs_", kSuffix = ".so";
constexpr const char *kEntry = "xqsBackendModule";
constexpr const char *kDevice = "cuda";
constexpr const char *kNotBuilt = "no module libxqs_cuda.so lies beside the program; build where nvcc is (packaging/run.sh "
                                  "--cuda-toolkit fetches it), for a "
                                  "GPU with driver 580 or newer";

/// Reads the table behind `module`; nothing but `abi` is touched before it is known to be ours.
BackendInfo describe(const XqsBackendModule *module, std::string name, std::string from) {
  BackendInfo info{std::move(name), {}, std::move(from), {}, nullptr};
  if (module == nullptr) {
    info.reason = "its entry point returns no table";
  } else if (module->abi != kBackendAbi) {
    info.reason = fmt::format("its interface has version {}, this program needs {}: use the module built with this program",
                              module->abi, kBackendAbi);
  } else if (!module->name || !module->description || !module->unusable || !module->create || !module->destroy) {
    info.reason = "its table is incomplete";
  } else {
    info.name = module->name;
    info.description = module->description;
    info.module = module;
    if (const char *why = module->unusable()) info.reason = why;
  }
  return info;
}

/// A module stays loaded until the process ends: texts, exceptions and the threads of a device's driver may outlive the last
/// backend.
BackendInfo load(const fs::path &path) {
  const std::string file = path.filename().string();
  const std::string name = file.substr(kPrefix.size(), file.size() - kPrefix.size() - kSuffix.size());
  const auto broken = [&](std::string reason) { return BackendInfo{name, {}, path.string(), std::move(reason), nullptr}; };

  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return broken("not a readable file"); // opening a FIFO would wait for ever
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char *text = dlerror();
    return broken(fmt::format("cannot be loaded: {}", text != nullptr ? text : "unknown reason"));
  }
  using Entry = const XqsBackendModule *();
  auto *const entry = reinterpret_cast<Entry *>(dlsym(library, kEntry));
  if (entry == nullptr) return broken(fmt::format("exports no {}", kEntry));
  return describe(entry(), name, path.string());
}

struct Directory {
  fs::path path;
  bool named; ///< by the user: then it must be there
};

std::vector<Directory> moduleDirectories() {
  std::vector<Directory> directories;
  const char *variable = std::getenv("XQSCOPE_BACKEND_PATH");
  for (std::string_view rest = variable != nullptr ? variable : ""; !rest.empty();) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    if (end > 0) directories.push_back({fs::path(rest.substr(0, end)), true});
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  std::error_code error;
  if (const fs::path program = fs::read_symlink("/proc/self/exe", error); !error)
    directories.push_back({program.parent_path(), false});
  return directories;
}

bool isModuleName(const std::string &file) {
  return file.size() > kPrefix.size() + kSuffix.size() && file.starts_with(kPrefix) && file.ends_with(kSuffix);
}

/// The modules of a directory by name; an error where it cannot be read.
std::vector<fs::path> modulesIn(const fs::path &directory, std::error_code &error) {
  std::vector<fs::path> paths;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error))
    if (isModuleName(it->path().filename().string())) paths.push_back(it->path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

void addRow(std::vector<BackendInfo> &rows, BackendInfo row) {
  const auto first =
      std::find_if(rows.begin(), rows.end(), [&](const BackendInfo &r) { return r.module && r.name == row.name; });
  if (row.module != nullptr && first != rows.end())
    row.reason = fmt::format("another backend of this name comes first ({})", first->from);
  rows.push_back(std::move(row));
}

void requireProof(Backend &backend, std::span<const BackendInfo> backends, int threads) {
  static std::mutex mutex;
  static std::set<std::string> proven;
  if (backend.hostVisible()) return;
  const std::string device = fmt::format("{} {}", backend.name(), backend.device());
  const std::lock_guard lock(mutex);
  if (proven.contains(device)) return;
  if (requireAgreement(backend, *createBackend(backends, kHostBackend, threads))) proven.insert(device);
}

/// Where nvcc built no module: a row all the same, so that every list and every message says what would change that.
void addMissingCuda(std::vector<BackendInfo> &rows) {
  if (std::ranges::find(rows, kDevice, &BackendInfo::name) == rows.end())
    rows.push_back({kDevice, "", "not built", kNotBuilt, nullptr});
}

} // namespace

std::vector<BackendInfo> listBackends(std::span<const XqsBackendModule *const> builtIn) {
  std::vector<BackendInfo> rows;
  for (const XqsBackendModule *module : builtIn) addRow(rows, describe(module, "unnamed", "built in"));

  std::set<fs::path> seen; // a directory may be named twice, or be the program's own
  for (const Directory &directory : moduleDirectories()) {
    std::error_code error;
    for (const fs::path &path : modulesIn(directory.path, error)) {
      std::error_code dangling;
      const fs::path real = fs::canonical(path, dangling);
      if (dangling || seen.insert(real).second) addRow(rows, load(path));
    }
    if (error && directory.named)
      rows.push_back({"", "", directory.path.string(),
                      fmt::format("this directory of XQSCOPE_BACKEND_PATH cannot be read: {}", error.message()), nullptr});
  }
  addMissingCuda(rows);
  return rows;
}

BackendPtr createBackend(std::span<const BackendInfo> backends, std::string_view name, int threads) {
  std::vector<std::string_view> available;
  const BackendInfo *wanted = nullptr; // the first of that name; a usable one before it
  for (const BackendInfo &info : backends) {
    if (info.usable()) available.push_back(info.name);
    if (info.name == name && (wanted == nullptr || (!wanted->usable() && info.usable()))) wanted = &info;
  }
  if (wanted == nullptr)
    throw Error(Code::BackendUnusable,
                fmt::format("no backend is called '{}'; available: {}", name, fmt::join(available, ", ")));
  if (!wanted->usable())
    throw Error(Code::BackendUnusable, fmt::format("backend '{}' ({}) cannot be used: {}; available: {}", name, wanted->from,
                                                   wanted->reason, fmt::join(available, ", ")));
  return {wanted->module->create(threads), BackendDeleter{wanted->module->destroy}};
}

BackendChoice chooseBackend(std::span<const BackendInfo> backends, std::string_view wanted) {
  if (wanted != kAutoBackend) return {std::string(wanted), {}};
  const BackendInfo *first = nullptr;
  for (const BackendInfo &info : backends) {
    if (info.name != kDevice) continue;
    if (info.usable()) return {info.name, {}};
    if (first == nullptr) first = &info;
  }
  return {kHostBackend, fmt::format("CUDA is not used: {}", first != nullptr ? first->reason : kNotBuilt)};
}

ChosenBackend openBackend(std::span<const BackendInfo> backends, std::string_view wanted, int threads) {
  ChosenBackend chosen{chooseBackend(backends, wanted), {}};
  chosen.backend = createBackend(backends, chosen.name, threads);
  requireProof(*chosen.backend, backends, threads);
  return chosen;
}

bool isDeviceFault(Code code, std::string_view backend) {
  return (code == Code::OutOfMemory || code == Code::BackendUnusable) && backend != kHostBackend && backend != "reference";
}

nlohmann::json backendsToJson(std::span<const BackendInfo> backends) {
  auto rows = nlohmann::json::array();
  for (const BackendInfo &info : backends)
    rows.push_back({{"name", info.name},
                    {"description", info.description},
                    {"from", info.from},
                    {"usable", info.usable()},
                    {"reason", info.usable() ? nlohmann::json() : nlohmann::json(info.reason)}});
  return rows;
}

} // namespace xqs
