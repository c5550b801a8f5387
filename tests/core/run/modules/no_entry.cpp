// SPDX-License-Identifier: Apache-2.0
// A library with the name of a module and no entry point.
extern "C" int xqsSomethingElse() { return 0; }
