// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

namespace xqs::cuda {

/// Where NVIDIA's libraries of these names may be, for dlopen: as the loader finds them, beside this module, in the toolkit,
/// in Python's packages. Folders by likelihood; in one folder the names as given.
std::vector<std::string> libraryCandidates(std::initializer_list<const char *> names);

} // namespace xqs::cuda
