// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace xqs {

std::string utcNow();           ///< ISO 8601 with milliseconds, "2025-03-01T12:00:00.250Z"
std::string newUuid();          ///< random, version 4
std::string machineName();      ///< for people: processor, cores, memory, kernel
int coreCount();                ///< cores this process may use
std::int64_t availableMemory(); ///< bytes that can be taken without swapping; < 0: not known
std::string libraryVersions();  ///< "fmt 9.1.0, OpenBLAS 0.3.21 ..., ..." of what is loaded

} // namespace xqs
