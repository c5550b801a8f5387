#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# When the CUDA toolkit is offered, what is said, and what a folder of wheels becomes; no network, no GPU. The probes of the
# machine are functions, which stand-ins replace here.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/packaging/checks.sh
source "$here/checks.sh"
XDG_CACHE_HOME=$(mktemp -d)
trap 'rm -rf "$XDG_CACHE_HOME"' EXIT
# shellcheck source=packaging/lib.sh
source "$here/../../packaging/lib.sh"
XQS_BUILD=$XDG_CACHE_HOME/build # that has no compiler of an earlier run

eval "real_$(declare -f find_nvcc)"
# shellcheck disable=SC2317 # called by what is tested
{
  find_nvcc() { [[ -x $XQS_TOOLKIT/nvidia/cu13/bin/nvcc ]]; }
  driver_says() { printf '%s\n' "$driver"; }
  on_terminal() { $terminal; }
  run_pip() {
    local folder=""
    while [[ -z $folder ]]; do
      [[ $1 == --target ]] && folder=$2
      shift
    done
    [[ $* == *"nvidia-cuda-nvcc==13.0.*"* ]] || fail "pip was asked for $*"
    $online || return 1
    mkdir -p "$folder"/nvidia/cu13/{bin,lib}
    printf '#!/bin/sh\necho 13.0\n' >"$folder/nvidia/cu13/bin/nvcc"
    chmod +x "$folder/nvidia/cu13/bin/nvcc"
    touch "$folder/nvidia/cu13/lib/libcudart.so.13"
  }
}
driver="" terminal=false online=true

[[ -z $(offer_cuda_toolkit ask) ]] || fail "without a driver nothing is to say"
driver="12040 80"
says "supports CUDA 12.4, and 13.0 is needed (driver 580 or newer)" offer_cuda_toolkit ask
driver="13000 90"
[[ -z $(offer_cuda_toolkit no) ]] || fail "who declines is not told of it"
says "run.sh --cuda-toolkit fetches CUDA 13.0" offer_cuda_toolkit ask
find_nvcc && fail "nothing was to be fetched without a word from the user"
terminal=true
offer_cuda_toolkit ask <<<"n"
find_nvcc && fail "no is no"
online=false
says "go on without it: --no-cuda-toolkit" offer_cuda_toolkit yes
[[ -z $(ls "$(dirname "$XQS_TOOLKIT")") ]] || fail "half a toolkit was left"
online=true
offer_cuda_toolkit ask <<<"" 2>/dev/null
find_nvcc || fail "enter is yes"
[[ -e $XQS_TOOLKIT/nvidia/cu13/lib64/libcudart.so ]] || fail "CMake and nvcc look for lib64 and libcudart.so"

# Before the toolkit comes what the build folder was configured with, and the machine's own compiler.
mkdir -p "$XQS_BUILD"
find_nvcc() { real_find_nvcc; }
printf 'CMAKE_CUDA_COMPILER:FILEPATH=/bin/true\n' >"$XQS_BUILD/CMakeCache.txt"
[[ $(cuda_options) == $'-DCMAKE_CUDA_COMPILER=/bin/true\n-DXQS_CUDA_ARCHITECTURES=90' ]] || fail "options: $(cuda_options)"
printf 'CMAKE_CUDA_COMPILER:FILEPATH=CMAKE_CUDA_COMPILER-NOTFOUND\n' >"$XQS_BUILD/CMakeCache.txt"
[[ $(CUDACXX=/bin/false find_nvcc) == /bin/false ]] || fail "CUDACXX names the compiler"
driver=""
[[ $(cuda_options) != *ARCHITECTURES* ]] || fail "without a GPU the default architecture stays"
