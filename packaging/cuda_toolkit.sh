# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The compiler of the CUDA backend: where it is, and for machines that have an NVIDIA driver alone, where it comes from:
# NVIDIA's own wheels on PyPI, unpacked into the user's cache folder. Sourced by lib.sh.

XQS_TOOLKIT=${XDG_CACHE_HOME:-$HOME/.cache}/xqscope/cuda-13.0
XQS_TOOLKIT_PACKAGES=(nvidia-cuda-nvcc nvidia-cuda-crt nvidia-nvvm nvidia-cuda-runtime nvidia-cuda-cccl nvidia-cuda-cupti)
XQS_TOOLKIT_SIZE="a download of 115 MB, 320 MB in $XQS_TOOLKIT"

# What the NVIDIA driver says: the CUDA version that it supports (13000 is 13.0), then each GPU's compute capability (90 is
# 9.0) that CUDA 13 can build for, once. Nothing where no driver answers.
driver_says() {
  python3 - 2>/dev/null <<'PYTHON' || true
import ctypes
cuda, value, part = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_int()
if cuda.cuDriverGetVersion(ctypes.byref(value)):
    raise SystemExit
answer = [value.value]
if cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(value)) == 0:
    capabilities = set()
    for device in range(value.value):
        cuda.cuDeviceGetAttribute(ctypes.byref(value), 75, device)  # compute capability, major
        cuda.cuDeviceGetAttribute(ctypes.byref(part), 76, device)  # minor
        capabilities.add(10 * value.value + part.value)
    answer += sorted(c for c in capabilities if c >= 75)
print(*answer)
PYTHON
}

# The nvcc to build with: the one that this build folder has, what the user names, and the usual places.
find_nvcc() {
  local nvcc cached
  cached=$(sed -n 's/^CMAKE_CUDA_COMPILER:[A-Z]*=//p' "$XQS_BUILD/CMakeCache.txt" 2>/dev/null || true)
  for nvcc in "$cached" "${CUDACXX:-}" "$(command -v nvcc || true)" "${CUDA_PATH:-}/bin/nvcc" /usr/local/cuda/bin/nvcc \
    "$XQS_TOOLKIT/nvidia/cu13/bin/nvcc"; do
    [[ -n $nvcc && -x $nvcc ]] && printf '%s\n' "$nvcc" && return
  done
  return 1
}

# What CMake is told about CUDA, one option a line: the compiler, and to build for the GPUs of this machine.
cuda_options() {
  local nvcc version gpus
  nvcc=$(find_nvcc) || return 0
  printf -- '-DCMAKE_CUDA_COMPILER=%s\n' "$nvcc"
  read -r version gpus <<<"$(driver_says)"
  [[ -z $gpus ]] || printf -- '-DXQS_CUDA_ARCHITECTURES=%s\n' "$gpus"
}

on_terminal() { [[ -t 0 && -t 2 ]]; }

# offer_cuda_toolkit ask|yes|no: sees to a compiler where there is a driver for it. To have none is no error.
offer_cuda_toolkit() {
  local version answer
  if [[ $1 == no ]] || find_nvcc >/dev/null; then return; fi
  if [[ $1 == ask ]]; then
    read -r version _ <<<"$(driver_says)"
    [[ -n $version ]] || return 0
    if ((version < 13000)); then
      say "no CUDA backend: this NVIDIA driver supports CUDA $((version / 1000)).$((version % 1000 / 10)), and 13.0 is needed (driver 580 or newer)"
      return
    fi
    if ! on_terminal; then
      say "no CUDA backend: there is an NVIDIA driver but no nvcc; packaging/run.sh --cuda-toolkit fetches CUDA 13.0 from PyPI ($XQS_TOOLKIT_SIZE)"
      return
    fi
    read -r -p "There is an NVIDIA driver but no nvcc. Fetch CUDA 13.0 from PyPI ($XQS_TOOLKIT_SIZE)? [Y/n] " answer || answer=n
    [[ $answer == [nN]* ]] && return
  fi
  fetch_cuda_toolkit
}

# A subshell: its trap is its own.
fetch_cuda_toolkit() (
  say "fetching the CUDA 13.0 toolkit"
  mkdir -p "$(dirname "$XQS_TOOLKIT")"
  temporary=$(mktemp -d "$XQS_TOOLKIT.XXXXXX")
  trap 'rm -rf "$temporary"' EXIT
  run_pip install --quiet --no-deps --no-compile --only-binary=:all: --target "$temporary" "${XQS_TOOLKIT_PACKAGES[@]/%/==13.0.*}" </dev/null ||
    die "CUDA 13.0 could not be fetched; try again, or go on without it: --no-cuda-toolkit"
  cd "$temporary/nvidia/cu13" || exit
  ln -s lib lib64 # where nvcc looks for the runtime library; in wheels it is in lib
  for library in lib/*.so.*; do ln -s "$(basename "$library")" "${library%.so.*}.so"; done # the names that CMake looks for
  bin/nvcc --version >/dev/null || die "the nvcc in PyPI's wheels does not run on this machine; install NVIDIA's CUDA 13.0 toolkit and run this again"
  rm -rf "$XQS_TOOLKIT"
  mv "$temporary" "$XQS_TOOLKIT"
)
