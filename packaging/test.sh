#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, fetches the default model, builds release with warnings as errors, runs every test that needs no
# GPU. --asan: also the unit and bad-input tests under the address and undefined-behaviour sanitizers.
# The last line is "N passed, N failed, N skipped".
set -euo pipefail

# shellcheck source=packaging/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

asan=false
case ${1:-} in
  "") ;;
  --asan) asan=true ;;
  *) die "usage: test.sh [--asan]" ;;
esac

results=()

# run_tests PRESET CTEST-ARGUMENTS...
run_tests() {
  local preset=$1 result=$XQS_ROOT/build/$1/tests.xml
  shift
  rm -f "$result"
  results+=("$result")
  (cd "$XQS_ROOT" && ctest --preset "$preset" --parallel "$(nproc)" --output-junit "$result" "$@") </dev/null || true # counted below
}

install_packages
log=$(mktemp)
fetch_model >"$log" 2>&1 &
fetching=$!
say "building release"
(build release)
wait "$fetching" || {
  cat "$log" >&2
  die "the default model could not be fetched"
}
rm -f "$log"
run_tests release --label-exclude gpu

if $asan; then
  say "building asan"
  (build asan)
  run_tests asan --label-regex unit
fi

python3 - "${results[@]}" <<'PYTHON'
import sys, xml.etree.ElementTree as xml
passed = failed = skipped = 0
for path in sys.argv[1:]:
    for case in xml.parse(path).getroot().iter("testcase"):
        status = case.get("status")
        passed += status == "run"
        skipped += status in ("notrun", "disabled")
        if status == "fail":
            failed += 1
            print("failed:", case.get("name"))
print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(1 if failed or not passed else 0)
PYTHON
