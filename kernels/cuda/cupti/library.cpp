// SPDX-License-Identifier: Apache-2.0
#include "library.h"

#include "libraries.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>

namespace xqs::cuda::cupti {
namespace {

constexpr const char *kHostLibrary = "libnvperf_host.so";

/// The library opens its host part by this name from wherever the loader finds it: only one that lies beside it fits.
bool openHostLibrary(const void *function) {
  Dl_info info{};
  if (dladdr(function, &info) == 0) return false;
  const auto file = std::filesystem::path(info.dli_fname).parent_path() / kHostLibrary;
  return dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL) != nullptr;
}

std::string loaderText() {
  const char *const text = dlerror();
  return text != nullptr ? text : "the loader gives no reason";
}

} // namespace

Library::Library() {
  const std::string name = "libcupti.so." + std::to_string(CUPTI_API_VERSION / 10000);
  const char *const wanted = std::getenv("XQSCOPE_CUPTI");
  if (wanted != nullptr && *wanted != '\0') {
    if (std::string(wanted) == "off") throw Failure(libraryOff());
    if (const std::string why = open(wanted); !why.empty())
      throw Failure(libraryUnusable(std::string("XQSCOPE_CUPTI=") + wanted + ": " + why, name));
    return;
  }
  std::string unusable; // the first one that is there
  for (const std::string &file : libraryCandidates({name.c_str()})) {
    const std::string why = open(file);
    if (why.empty()) return;
    std::error_code ignored;
    if (unusable.empty() && (m_loaded || std::filesystem::exists(file, ignored))) unusable = file + ": " + why;
  }
  throw Failure(unusable.empty() ? libraryMissing(name) : libraryUnusable(unusable, name));
}

Library::Library(const Resolve &resolve) {
  if (const std::string why = bind(resolve); !why.empty()) throw Failure(libraryUnusable(why, "CUPTI"));
}

std::string Library::open(const std::string &file) {
  void *const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  m_loaded = library != nullptr;
  if (!m_loaded) return loaderText();
  const std::string why = bind([=](const char *function) { return dlsym(library, function); });
  if (!why.empty()) return why;
  if (!openHostLibrary(reinterpret_cast<const void *>(cuptiGetVersion.pointer)))
    return std::string("it needs ") + kHostLibrary + " beside it: " + loaderText();
  std::uint32_t version = 0;
  call(cuptiGetVersion, &version);
  m_description = "CUPTI " + std::to_string(version / 10000) + "." + std::to_string(version % 10000 / 100);
  return {};
}

std::string Library::bind(const Resolve &resolve) {
  std::string missing;
  const auto find = [&](auto &function) {
    function.pointer = reinterpret_cast<decltype(function.pointer)>(resolve(function.name));
    if (function.pointer == nullptr && missing.empty()) missing = function.name;
  };
#define XQS_CUPTI_BIND(function) find(function);
  XQS_CUPTI_FUNCTIONS(XQS_CUPTI_BIND)
#undef XQS_CUPTI_BIND
  return missing.empty() ? missing : "it has no function " + missing;
}

std::string Library::text(CUptiResult result) const {
  const char *text = nullptr;
  if (cuptiGetErrorMessage.pointer(result, &text) == CUPTI_SUCCESS && text != nullptr) return text;
  if (cuptiGetResultString.pointer(result, &text) == CUPTI_SUCCESS && text != nullptr) return text;
  return "an unknown result";
}

} // namespace xqs::cuda::cupti
