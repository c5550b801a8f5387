// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace xqs::cuda::cupti {

/// A kernel's name for people: demangled, without namespaces, parameters and casts; template arguments only where they are
/// short. "_ZN3xqs4cuda...14gemvHalfKernelILi4ELb0EEEvNS0_10MatmulArgsItEE" -> "gemvHalfKernel<4, false>". What is no
/// mangled name stays as it is.
std::string launchName(const std::string &mangled);

} // namespace xqs::cuda::cupti
