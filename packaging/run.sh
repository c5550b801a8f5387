#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a clean clone to the window: installs what is missing, builds, fetches the default model meanwhile, starts the default
# experiment in the window. Without a display it runs the same experiment and writes a report; interrupted, it goes on when it
# is called again.
set -euo pipefail

# shellcheck source=packaging/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage='usage: run.sh [--fetch-only] [--cuda-toolkit | --no-cuda-toolkit] [FILE.xqs...]
  --fetch-only       only fetch the default model
  --cuda-toolkit     where there is no nvcc, fetch CUDA 13.0 from PyPI without asking
  --no-cuda-toolkit  do not ask for it
  FILE.xqs           stores to open in the window, in the place of the default experiment'
toolkit=ask
while [[ ${1:-} == -* ]]; do
  case $1 in
    --help | -h)
      printf '%s\n' "$usage"
      exit 0
      ;;
    --fetch-only)
      fetch_model
      say "the default model is $XQS_MODEL_FILE"
      exit 0
      ;;
    --cuda-toolkit) toolkit=yes ;;
    --no-cuda-toolkit) toolkit=no ;;
    *) die "unknown option $1
$usage" ;;
  esac
  shift
done
for file in "$@"; do
  [[ -f $file ]] || die "there is no file $file; name stores that are there, or none for the default experiment"
done

start=$SECONDS
install_packages
offer_cuda_toolkit "$toolkit"
installed=$SECONDS

log=$(mktemp)
fetch_model >"$log" 2>&1 &
fetching=$!

targets=(xqscope-cli)
configure release
[[ -d $XQS_BUILD/app/gui ]] && targets+=(xqscope)
# Minutes of nvcc are for machines with a driver; elsewhere the module could only say that there is none.
[[ -d $XQS_BUILD/kernels/cuda && -n $(driver_says) ]] && targets+=(xqs_cuda)
say "building ${targets[*]}"
(build release "${targets[@]}")
if ! wait "$fetching"; then
  cat "$log" >&2
  die "the default model could not be fetched"
fi
rm -f "$log"
ready=$SECONDS

has_display() { [[ -n ${DISPLAY:-} || -n ${WAYLAND_DISPLAY:-} ]]; }
no_window() { if has_display; then echo "no Qt, so no window was built"; else echo "no display"; fi; }
if has_display && [[ -x $XQS_BUILD/bin/xqscope ]]; then
  say "from start to window: $((ready - start)) s ($((installed - start)) s of it packages)"
  (($#)) || set -- --run
  exec "$XQS_BUILD/bin/xqscope" "$@"
fi
(($# == 0)) || die "no window for $1 ($(no_window)); a page of it: $XQS_BUILD/bin/xqscope-cli report $1 -o FILE.html"

folder=${XDG_DATA_HOME:-$HOME/.local/share}/xqscope
name=$folder/default
mkdir -p "$folder"
say "$(no_window): running the default experiment into $name.xqs after $((ready - start)) s; this takes some minutes"
"$XQS_BUILD/bin/xqscope-cli" run default --store "$name.xqs" --report "$name.html"
say "report: $name.html"
say "store:  $name.xqs (opens in the window: packaging/run.sh $name.xqs)"
