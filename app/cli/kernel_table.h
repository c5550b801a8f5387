// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "run/profile.h"

#include <string>

namespace xqs::cli {

/// What the microscope saw, by function: of every policy's step at its longest context and largest batch there.
std::string kernelTables(const ProfileResult &result);

} // namespace xqs::cli
