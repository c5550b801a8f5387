#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What run.sh starts once everything is built: the window with the default experiment, or the same without a display. Installing,
# fetching and building are stand-ins, and so are the programs, which say what they were asked.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/packaging/checks.sh
source "$here/checks.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir -p "$work/packaging" "$work/build/release/bin"
cp "$here"/../../packaging/{run.sh,lib.sh,cuda_toolkit.sh} "$work/packaging"
cat >>"$work/packaging/lib.sh" <<'STUBS'
install_packages() { :; }
offer_cuda_toolkit() { :; }
fetch_model() { :; }
configure() { :; }
build() { :; }
driver_says() { :; }
STUBS
for program in xqscope xqscope-cli; do
  printf '#!/bin/sh\necho "asked: %s $*"\n' "$program" >"$work/build/release/bin/$program"
  chmod +x "$work/build/release/bin/$program"
done
store=$work/data/xqscope/default
touch "$work/a.xqs"
# run [VARIABLE=VALUE]: without a display, or with the one that is named.
# shellcheck disable=SC2120 # says passes it
run() { env -u DISPLAY -u WAYLAND_DISPLAY XDG_DATA_HOME="$work/data" "$@" bash "$work/packaging/run.sh" "${files[@]}"; }

files=()
says "asked: xqscope --run" run DISPLAY=:1
says "no display: running the default experiment into $store.xqs" run
# The same store every time: what was interrupted goes on.
for _ in 1 2; do says "asked: xqscope-cli run default --store $store.xqs --report $store.html" run; done
files=("$work/a.xqs")
says "asked: xqscope $work/a.xqs" run DISPLAY=:1
says "xqscope-cli report $work/a.xqs -o" run
files=("$work/a.xqs" "$work/nofile.xqs")
says "there is no file $work/nofile.xqs" run
says "there is no file $work/nofile.xqs" run DISPLAY=:1
files=("$work/a.xqs")
rm "$work/build/release/bin/xqscope"
says "no window for $work/a.xqs (no Qt" run DISPLAY=:1
