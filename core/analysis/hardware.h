// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "store/records.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace xqs {

/// The limits of a machine that a model of its time is made of. Bytes and FLOPs a second; bytes; 0: not known.
struct Hardware {
  std::string id;          ///< "h100-sxm", on the command line; "measured": of a profile run
  std::string name;        ///< "H100 SXM"
  std::string source;      ///< where the figures come from
  double memoryRate = 0;   ///< bytes between the memory and the chip
  double matrixRate = 0;   ///< FLOPs of dense products, FP16 inputs and FP32 sums
  double memory = 0;       ///< for weights and caches
  double l2 = 0;           ///< last-level cache; shown, not modelled
  double linkRate = 0;     ///< bytes from the host's memory to the device
  std::string device = {}; ///< "measured": the run's device
  bool measured = false;   ///< the rates are what kernels reached, not what a data sheet says
  /// Rows that the smallest matrix instruction takes: fewer queries cost as many FLOPs. 1: no such instruction.
  std::int64_t tileRows = 16;

  /// Arithmetic intensity from which on a kernel is limited by FLOPs, not by bytes: FLOP a byte (arXiv 2508.10395 sec. 3.4).
  double ridge() const { return matrixRate / memoryRate; }
  /// What good kernels reach of a data sheet's rates: copies and streaming attention about 85 % of the memory's, products of
  /// matrices about 65 % of the tensor cores' (sustained clocks are below the sheet's boost), copies from page-locked memory
  /// about 86 % of the link. Measured rates are such rates already.
  double reachedMemoryRate() const { return measured ? memoryRate : 0.85 * memoryRate; }
  double reachedMatrixRate() const { return measured ? matrixRate : 0.65 * matrixRate; }
  double reachedLinkRate() const { return measured ? linkRate : 0.86 * linkRate; }
  /// Of the memory, what weights, maps and caches may take: the rest is the driver's and what a step works in.
  double usableMemory() const { return 0.95 * memory; }
};

/// GPUs to ask "what if" of, by data sheet.
std::span<const Hardware> hardwarePresets();
/// Throws Usage, naming those there are.
const Hardware &hardwarePreset(std::string_view id);

/// The machine of a profile run, from its peaks ("copy", "matmul", "host-copy"); none where the first two are missing.
std::optional<Hardware> measuredHardware(const RunRow &run, const std::vector<PeakRow> &peaks);

} // namespace xqs
