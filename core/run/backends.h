// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend.h"
#include "error.h"

#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace xqs {

/// One row of the table of backends. A module that cannot be used is a row that says why, never an error.
struct BackendInfo {
  std::string name;
  std::string description;
  std::string from;                         ///< "built in", the module's path, or "not built"
  std::string reason;                       ///< empty where usable, else one sentence that says why not
  const XqsBackendModule *module = nullptr; ///< null where it could not be loaded; never unloaded
  bool usable() const { return reason.empty(); }
};

/// `builtIn`, then the modules `libxqs_<name>.so` in the directories of $XQSCOPE_BACKEND_PATH (separated by ':') and beside
/// the executable, by file name within a directory. Where two have one name the first is used, the other says so. The last
/// row is "cuda" where no module of that name was found. Loads the modules it finds and asks each whether it is usable,
/// which may start its device: call it once.
std::vector<BackendInfo> listBackends(std::span<const XqsBackendModule *const> builtIn);

/// Gives a backend back to the module that made it.
struct BackendDeleter {
  void (*destroy)(Backend *) = nullptr;
  void operator()(Backend *backend) const { destroy(backend); }
};
using BackendPtr = std::unique_ptr<Backend, BackendDeleter>;

/// The backend called `name`. `threads` <= 0: one a core. Throws BackendUnusable, naming those that can be used, where there
/// is none of that name or it has a reason.
BackendPtr createBackend(std::span<const BackendInfo> backends, std::string_view name, int threads);

/// What a wish stands for on this machine.
struct BackendChoice {
  std::string name;
  std::string note; ///< of `auto` alone: one sentence that says why CUDA is not used; empty where it is
};
inline constexpr const char *kAutoBackend = "auto", *kHostBackend = "cpu";
/// `auto` becomes "cuda" where that can be used, else "cpu"; every other name stays, whether it is known or not.
BackendChoice chooseBackend(std::span<const BackendInfo> backends, std::string_view wanted);
/// What a wish stands for on this machine, made.
struct ChosenBackend : BackendChoice {
  BackendPtr backend;
};
/// Throws BackendUnusable as createBackend does, and where a device does not compute what the CPU does (requireAgreement):
/// it is another compiler, another driver and other memory, and proves itself before any figure comes from it, once a
/// process.
ChosenBackend openBackend(std::span<const BackendInfo> backends, std::string_view wanted, int threads);
/// Whether an error of `code` on this backend is one of a device, which the CPU does not have: its memory does not suffice,
/// it cannot be used, or it has broken down and cannot be used again by this process.
bool isDeviceFault(Code code, std::string_view backend);

/// [{"name", "description", "from", "usable", "reason" (null where usable)}], in the order of the table. Paths may not be
/// UTF-8: dump it with error_handler_t::replace.
nlohmann::json backendsToJson(std::span<const BackendInfo> backends);

} // namespace xqs
