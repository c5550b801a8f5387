// SPDX-License-Identifier: Apache-2.0
// A module of another interface version: everything behind `abi` is poison and must not be read.
#include "backend.h"

namespace {
template <typename Pointer> Pointer poison() { return reinterpret_cast<Pointer>(std::uintptr_t{16}); }
const xqs::XqsBackendModule kModule = {
    xqs::kBackendAbi + 98,       poison<const char *>(),           poison<const char *>(),
    poison<const char *(*)()>(), poison<xqs::Backend *(*)(int)>(), poison<void (*)(xqs::Backend *)>()};
} // namespace

extern "C" const xqs::XqsBackendModule *xqsBackendModule() { return &kModule; }
