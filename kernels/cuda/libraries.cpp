// SPDX-License-Identifier: Apache-2.0
#include "libraries.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace xqs::cuda {
namespace {

namespace fs = std::filesystem;

fs::path environment(const char *name) {
  const char *const value = std::getenv(name);
  return value != nullptr ? value : "";
}

fs::path folderOfThisModule() {
  Dl_info info{};
  const auto here = reinterpret_cast<const void *>(&libraryCandidates);
  return dladdr(here, &info) != 0 ? fs::path(info.dli_fname).parent_path() : fs::path();
}

/// By name; empty where there is no such folder.
std::vector<fs::path> foldersIn(const fs::path &folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) found.push_back(it->path());
  std::sort(found.begin(), found.end());
  return found;
}

/// Folders that may hold NVIDIA's wheels (nvidia/*/lib): the toolkit that packaging/cuda_toolkit.sh fetches, then the
/// packages of Python's environments.
std::vector<fs::path> wheelFolders() {
  const fs::path home = environment("HOME"), cache = environment("XDG_CACHE_HOME");
  std::vector<fs::path> folders = {(cache.empty() ? home / ".cache" : cache) / "xqscope" / "cuda-13.0"};
  for (const fs::path &prefix : {environment("VIRTUAL_ENV"), environment("CONDA_PREFIX"), home / ".local",
                                 fs::path("/usr/local"), fs::path("/usr")}) {
    if (!prefix.is_absolute()) continue;
    for (const fs::path &python : foldersIn(prefix / "lib"))
      if (python.filename().string().starts_with("python"))
        for (const char *packages : {"site-packages", "dist-packages"}) folders.push_back(python / packages);
  }
  return folders;
}

} // namespace

std::vector<std::string> libraryCandidates(std::initializer_list<const char *> names) {
  std::vector<fs::path> folders = {fs::path(), folderOfThisModule()};
  for (const fs::path &toolkit : {environment("CUDA_PATH"), fs::path("/usr/local/cuda")})
    for (const char *part : {"lib64", "extras/CUPTI/lib64"})
      if (toolkit.is_absolute()) folders.push_back(toolkit / part);
  for (const fs::path &wheels : wheelFolders())
    for (const fs::path &package : foldersIn(wheels / "nvidia")) folders.push_back(package / "lib");
  std::vector<std::string> files;
  for (const fs::path &folder : folders)
    for (const char *name : names) files.push_back((folder / name).string());
  return files;
}

} // namespace xqs::cuda
