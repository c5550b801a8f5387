// SPDX-License-Identifier: Apache-2.0
// Stands for libnvperf_host.so, which must lie beside CUPTI: the fake one does its work itself.
extern "C" __attribute__((visibility("default"))) int xqsFakeNvperfHost() { return 0; }
