// SPDX-License-Identifier: Apache-2.0
#include "device_status.h"

#include <gtest/gtest.h>

using xqs::cuda::deviceProblem;

TEST(DeviceStatus, NoDriverOrNoGpu) {
  EXPECT_EQ(deviceProblem({35, "insufficient driver", 0, 0, 13000}), "no NVIDIA driver or GPU");
  EXPECT_EQ(deviceProblem({100, "no device", 0, 13000, 13000}), "no NVIDIA driver or GPU");
  EXPECT_EQ(deviceProblem({0, "", 0, 13000, 13000}), "no NVIDIA driver or GPU");
}

TEST(DeviceStatus, OldDriverIsNamedWithBothVersions) {
  EXPECT_EQ(deviceProblem({35, "insufficient driver", 0, 12040, 13000}), "driver supports CUDA 12.4, 13.0 needed");
}

TEST(DeviceStatus, AnythingElseKeepsCudasText) {
  EXPECT_EQ(deviceProblem({803, "system has unsupported display driver / cuda driver combination", 0, 13000, 13000}),
            "the NVIDIA driver reports: system has unsupported display driver / cuda driver combination (803)");
  EXPECT_EQ(deviceProblem({35, "insufficient driver", 0, 13000, 13000}),
            "the NVIDIA driver reports: insufficient driver (35)");
}

TEST(DeviceStatus, ADeviceIsNoProblem) {
  EXPECT_EQ(deviceProblem({0, "", 1, 13000, 13000}), "");
  EXPECT_EQ(deviceProblem({0, "", 8, 13010, 13000}), "");
}
