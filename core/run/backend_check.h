// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend.h"

namespace xqs {

/// Whether a device computes what a trusted backend computes: a small model, one prompt and two tokens decoded behind it,
/// over FP16 K and V, packed K and V, and packed X. Rounding (FP16 weights, codes at a tie of 8 bits) is far below what is
/// allowed, a wrong kernel, driver or memory chip far above. Throws BackendUnusable saying how far the two are apart. False
/// where the device has no room for a megabyte, and nothing was compared.
bool requireAgreement(Backend &device, Backend &trusted);

} // namespace xqs
