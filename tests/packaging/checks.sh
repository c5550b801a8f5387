# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What tests of shell scripts share. Sourced.

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

# says TEXT COMMAND...: what the command writes contains TEXT, whatever its exit code.
says() {
  local text=$1 output
  shift
  output=$("$@" 2>&1) || true
  [[ $output == *"$text"* ]] || fail "'$*' does not say '$text' but: $output"
}

# has FILE TEXT
has() { grep -qF -- "$2" "$1" || fail "$1 does not say '$2' but: $(cat "$1")"; }
