#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# gpu_bundle_test.sh BUILD: a bundle of the built programs, proved complete without a GPU, and what it says when something is
# missing. The model is a few bytes.
set -euo pipefail

build=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/packaging/checks.sh
source "$here/checks.sh"
if [[ ! -f $build/bin/libxqs_cuda.so ]]; then
  printf 'SKIPPED: no nvcc, so libxqs_cuda.so was not built\n'
  exit
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

make() { "$here/../../packaging/gpu-bundle.sh" --build "$build" "$@"; }
on_machine() { env -i PATH="$PATH" HOME="$work/home" bundle/packaging/gpu-bundle.sh "$@"; }

printf 'tests 60 bin/test_cuda\n' >unreadable.txt
says "not 'name | seconds | command'" make --steps unreadable.txt bundle
cat >steps.txt <<'STEPS'
# a comment
tests | 60 | bin/test_cuda --gtest_output=json:$JSON
slow  |  1 | sleep 30 | cat
wrong |  9 | false | cat
both  |  9 | for run in a b; do echo "[1]" >$JSON.$run; done
store |  9 | echo rows >$STORE
STEPS
make --steps steps.txt bundle

# The model: halves of a stand-in, whose sum the bundle's copy of lib.sh is told.
model=$work/home/.cache/xqscope/models/SmolLM2-135M-Instruct.Q4_1.gguf
mkdir -p "$(dirname "$model")"
head -c 100001 /dev/urandom >"$model"
says "is not at" on_machine --split-model halves
sed -i "s/^XQS_MODEL_SHA256=.*/XQS_MODEL_SHA256=$(sha256sum "$model" | cut -d' ' -f1)/" bundle/packaging/lib.sh
on_machine --split-model halves
rm "$model"
[[ $(ls halves) == *half1*half2* ]] || fail "halves: $(ls halves)"

on_machine --dry-run --results proved --model-halves halves
for text in '- device ' '- driver ' '- date ' '- commit ' '- command gpu-bundle.sh --dry-run' 'libraries | all from the bundle' \
  'model | there' 'device | passed' 'tests | passed' 'eval | passed'; do
  has proved/summary.md "$text"
done
has proved/output.txt 'CudaOps'
python3 -c 'import json, sys; [json.load(open(f))["figures"] for f in sys.argv[1:]]' proved/{tests,eval}.json
files=(proved/*)
((${#files[@]} <= 8)) || fail "too many results: ${files[*]}"
says 'is not empty' on_machine --dry-run --results proved

# What fails says so: steps, a time limit, no time, a half that is another, programs and libraries that are not there.
says 'not everything passed' on_machine --run --results ran --model-halves halves
has ran/summary.md 'slow | FAILED: stopped after 1 s'
has ran/summary.md 'wrong | FAILED: exit code 1'
python3 -c 'import json; assert json.load(open("ran/both.json"))["figures"] == {"a": [1], "b": [1]}'
has ran/store.xqs rows
on_machine --run --results late --model-halves halves --seconds 0
has late/summary.md 'tests | not run: no time left'
sed -i 's/^glibc-of-compiler .*/glibc-of-compiler 99/' bundle/bundle.txt # the machine's own libstdc++ then
on_machine --dry-run --results older
printf x >>halves/*.half2
rm bundle/bin/test_cuda bundle/lib/libsqlite3.so.0
says 'not everything passed' on_machine --dry-run --results incomplete --model-halves halves
for text in 'model | FAILED: ' 'tests | FAILED: bin/test_cuda is not in the bundle' 'libraries | FAILED: not from the bundle: libsqlite3.so.0'; do
  has incomplete/summary.md "$text"
done
sed -i 's/^glibc .*/glibc 98/' bundle/bundle.txt
says 'and the bundle needs 98: make the bundle on a system as old' on_machine --run
says 'is no bundle' "$here/../../packaging/gpu-bundle.sh" --run
