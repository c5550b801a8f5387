// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "run/backends.h"

#include <span>
#include <stop_token>
#include <string>

namespace xqs {

/// The engine process of the window: takes commands as JSON lines from `in`, answers events as JSON lines on `out`, writes
/// results to the store it was told to open. Returns on quit, at the end of the input, and after `stop`. Throws
/// StoreUnwritable where `out` cannot be written, and the error of a device (isDeviceFault) behind its event
/// `backend-failed`: after a failed kernel a process cannot use its GPU again, so that the window starts another one.
void serve(std::span<const BackendInfo> backends, int in, int out, std::stop_token stop = {});

/// The protocol, for --help.
std::string serveHelp();

} // namespace xqs
