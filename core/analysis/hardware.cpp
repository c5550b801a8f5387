// SPDX-License-Identifier: Apache-2.0
#include "hardware.h"

#include "error.h"
#include "model/utf8.h"

#include <fmt/format.h>

#include <charconv>

namespace xqs {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024, kMiB = 1024.0 * 1024;
constexpr double kPcie4 = 32e9, kPcie5 = 64e9; ///< x16, one direction; data sheets print both together

// Rates as printed, those of tensor cores without sparsity. What a sheet calls GB of memory is GiB.
const Hardware kPresets[] = {
    // 756 of the 1,513 TFLOP/s with sparsity; 2 TB/s is what the paper divides it by.
    {"h100-pcie", "H100 PCIe", "NVIDIA H100 data sheet, 2023", 2.0e12, 756e12, 80 * kGiB, 50 * kMiB, kPcie5},
    // 1,979 TFLOP/s with sparsity.
    {"h100-sxm", "H100 SXM", "NVIDIA H100 data sheet, 2023", 3.35e12, 989.4e12, 80 * kGiB, 50 * kMiB, kPcie5},
    // The same chip as the H100 SXM.
    {"h200", "H200", "NVIDIA H200 data sheet, 2024", 4.8e12, 989.4e12, 141 * kGiB, 50 * kMiB, kPcie5},
    {"a100", "A100 80 GB SXM", "NVIDIA A100 data sheet, 2021", 2.039e12, 312e12, 80 * kGiB, 40 * kMiB, kPcie4},
    // Cache: NVIDIA Ada GPU architecture white paper, 2023.
    // 48 GB without ECC, which is on by default.
    {"l40s", "L40S", "NVIDIA L40S data sheet, 2023", 0.864e12, 362.05e12, 45 * kGiB, 96 * kMiB, kPcie4},
    // With FP32 sums: half of what the chip does with FP16 sums.
    {"rtx-4090", "RTX 4090", "NVIDIA Ada GPU architecture white paper, 2022", 1.008e12, 165.2e12, 24 * kGiB, 72 * kMiB,
     kPcie4},
};

/// Of a CUDA device, whose description ends with it: "..., 81559 MiB"; 0 where it does not.
double memoryOf(const RunRow &run) {
  const std::string_view device = run.device;
  const std::size_t last = device.rfind(' '), comma = device.rfind(", ");
  if (run.backend != "cuda" || comma == std::string_view::npos || device.substr(last + 1) != "MiB") return 0;
  std::int64_t mebibytes = 0;
  std::from_chars(device.data() + comma + 2, device.data() + last, mebibytes);
  return static_cast<double>(mebibytes) * kMiB;
}

} // namespace

std::span<const Hardware> hardwarePresets() { return kPresets; }

const Hardware &hardwarePreset(std::string_view id) {
  std::string known;
  for (const Hardware &h : kPresets) {
    if (h.id == id) return h;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", h.id);
  }
  throw Error(Code::Usage, fmt::format("no GPU is called '{}'; there are {}, and measured with a store of a profile",
                                       printable(id), known));
}

std::optional<Hardware> measuredHardware(const RunRow &run, const std::vector<PeakRow> &peaks) {
  Hardware h;
  h.id = "measured", h.name = "the profiled machine", h.device = run.device, h.measured = true;
  h.source = fmt::format("peaks of the profile of {}", run.startedUtc);
  for (const PeakRow &peak : peaks) { // measured again: the later one
    if (peak.name == "copy") h.memoryRate = peak.value;
    if (peak.name == "matmul") h.matrixRate = peak.value;
    if (peak.name == "host-copy") h.linkRate = peak.value;
  }
  h.memory = memoryOf(run);
  if (run.backend != "cuda") h.tileRows = 1;
  if (!(h.memoryRate > 0) || !(h.matrixRate > 0)) return std::nullopt;
  return h;
}

} // namespace xqs
