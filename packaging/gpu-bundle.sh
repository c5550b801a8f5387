#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tests and benchmarks for a GPU machine that has an NVIDIA driver and neither packages nor a network: everything that they
# need in one archive, which holds this script too, and one command there. What is run stands in gpu-steps.txt.
set -euo pipefail

# shellcheck source=packaging/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage='usage: gpu-bundle.sh [--build DIR] [--steps FILE] [OUT]
         makes the bundle of what is built: an archive where OUT ends in .tar.gz, else a folder (build/xqscope-gpu.tar.gz)
       gpu-bundle.sh --split-model DIR
         the default model in two halves, for a way that takes no file of 94 MB
       gpu-bundle.sh --run | --dry-run [--steps FILE] [--results DIR] [--model-halves DIR] [--seconds N]
         in the bundle: runs the steps of its gpu-steps.txt, or of FILE (gpu-steps-counters.txt lies beside it), in at most N (540) seconds; --dry-run: only proves that the bundle is complete, without a GPU
  --results DIR       where the results go (xqscope-gpu-results)
  --model-halves DIR  where the halves of the default model are, or the model; without: ~/.cache/xqscope/models'

MAX_ARCHIVE_MIB=40
MAX_FIGURES=6 # and summary.md, output.txt: 8 files
LIBC='^(ld-linux-[^.]*|lib(c|m|mvec|dl|rt|pthread|resolv|util|anl))\.so' # goes with the machine's kernel and driver: never taken along
COMPILER='^lib(stdc\+\+|gcc_s)\.so'                                    # apart: the machine's own serves where this one is too new

# steps < TABLE: name, seconds and command of each, between tabs.
steps() { sed -n '/^#/d; s/^ *\([^ |]*\) *| *\([0-9]*\) *| *\(.*\)$/\1\t\2\t\3/p'; }

# programs < TEXT: the programs of ours that it names.
programs() { grep -o '\bbin/[A-Za-z0-9_-]*' | sort -u; }

# libraries FILE...: "name path" of every shared library that they need, of libc too; an empty path where there is none.
libraries() { ldd "$@" | awk '$2 == "=>" { print $1, ($3 ~ /^\// ? $3 : "") }' | sort -u; }

# glibc_of FILE...: the newest version of glibc that they ask for.
glibc_of() { objdump -T "$@" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -n 1; }

at_least() { printf '%s\n' "$2" "$1" | sort -CV; }

# copy_cupti FOLDER: the toolkit's CUPTI, which no driver brings, and the libraries that it opens.
copy_cupti() {
  local nvcc folder
  nvcc=$(readlink -f "$(command -v nvcc || printf /usr/local/cuda/bin/nvcc)")
  for folder in "${nvcc%/bin/nvcc}"/{lib64,lib,extras/CUPTI/lib64}; do
    [[ -e $folder/libcupti.so.13 ]] || continue
    cp -L "$folder"/{libcupti.so.13,libnvperf_host.so,libnvperf_target.so} "$1"
    return
  done
  say "no CUPTI beside ${nvcc:-nvcc}: bytes will be counted there, not measured, unless the machine has it"
}

# ---- making it -------------------------------------------------------------------------------------------------------------

# fill FOLDER: the bundle's files.
fill() {
  local to=$1 program name path folder shared=$XQS_ROOT/../shared
  mkdir -p "$to"/{bin,lib/compiler,packaging,shared,tests/bench}
  [[ -f $build/bin/libxqs_cuda.so ]] ||
    die "$build/bin has no libxqs_cuda.so: configure with nvcc on PATH (packaging/run.sh --cuda-toolkit fetches one) and build"
  cp "$build/bin/libxqs_cuda.so" "$to/bin"
  for program in $( (steps <"$table" && dry_steps) | programs); do
    if [[ -x $build/$program ]]; then
      cp "$build/$program" "$to/bin"
    else
      say "$program is not built: its steps will fail"
    fi
  done
  while read -r name path; do
    [[ -n $path ]] || die "$name, which the programs need, is not on this machine"
    [[ $name =~ $LIBC ]] && continue
    folder=$to/lib
    [[ $name =~ $COMPILER ]] && folder+=/compiler
    cp -L "$path" "$folder/$name"
  done < <(libraries "$to"/bin/*)
  copy_cupti "$to/lib"
  cp "$XQS_ROOT"/packaging/{gpu-bundle.sh,lib.sh,cuda_toolkit.sh} "$to/packaging"
  cp "$table" "$to/packaging/gpu-steps.txt"
  cp "$XQS_ROOT/packaging/gpu-steps-counters.txt" "$to/packaging"
  cp "$XQS_ROOT/tests/bench/torch_perplexity.py" "$to/tests/bench"
  if [[ -d $shared/golden ]]; then
    mkdir "$to"/shared/{golden,data}
    cp "$shared"/golden/*.json "$to/shared/golden"
    cp "$shared/data/wikitext-2-raw-test.txt" "$to/shared/data"
  else
    say "no folder ../shared with golden figures and WikiText-2: tests that need them will skip"
  fi
  cat >"$to/bundle.txt" <<BUNDLE
commit $(git -C "$XQS_ROOT" describe --always --dirty --abbrev=12 2>/dev/null || printf unknown)
glibc $(glibc_of "$to"/bin/* "$to"/lib/*.so*)
glibc-of-compiler $(glibc_of "$to"/lib/compiler/*)
BUNDLE
}

make_bundle() {
  local out=$1 folder mib unreadable
  unreadable=$(grep -vE '^(#|$)|^[a-z0-9-]+ *\| *[0-9]+ *\| *[^ ]' "$table" || true)
  [[ -z $unreadable ]] || die "$table: this is not 'name | seconds | command': $unreadable"
  # shellcheck disable=SC2016 # the variables' names
  (($(steps <"$table" | grep -cE '\$(JSON|STORE)') <= MAX_FIGURES)) || die "$table: more than $MAX_FIGURES steps use \$JSON or \$STORE"
  if [[ $out != *.tar.gz ]]; then
    [[ ! -e $out ]] || die "$out exists; name a folder that does not"
    fill "$out"
    say "bundle: $out; there: packaging/gpu-bundle.sh --run"
    return
  fi
  folder=$(mktemp -d)
  # shellcheck disable=SC2064 # the folder's name now, not later
  trap "rm -rf '$folder'" EXIT
  fill "$folder/xqscope-gpu"
  tar -C "$folder" --owner=0 --group=0 -czf "$out" xqscope-gpu
  mib=$(($(stat -c %s "$out") / 1048576 + 1))
  ((mib <= MAX_ARCHIVE_MIB)) || die "$out has $mib MiB, more than the $MAX_ARCHIVE_MIB that a bundle may have; build fewer GPU architectures"
  say "bundle: $out, $mib MiB; there: tar xzf $(basename "$out") && xqscope-gpu/packaging/gpu-bundle.sh --run"
}

split_model() {
  model_is_there || die "the default model is not at $XQS_MODEL_FILE; fetch it with packaging/run.sh --fetch-only"
  mkdir -p "$1"
  split --number=2 --numeric-suffixes=1 --suffix-length=1 "$XQS_MODEL_FILE" "$1/$(basename "$XQS_MODEL_FILE").half"
  say "halves: $1/$(basename "$XQS_MODEL_FILE").half1 and .half2"
}

# ---- running it ------------------------------------------------------------------------------------------------------------

# What proves on any machine that the bundle is complete: every program starts, the CUDA module loads, a model is scored.
dry_steps() {
  steps <<'STEPS'
device | 20 | bin/xqscope-cli info --backends | tee /dev/stderr | grep -q '^cuda .*usable'
tests  | 30 | bin/test_cuda --gtest_output=json:$JSON
eval   | 60 | bin/xqscope-cli eval --model synthetic --text builtin:primer --window 64 --windows 1 --policy fp16 --policy xquant:bits=4 --json >$JSON
STEPS
}

json_string() {
  local text=${1//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}

# row NAME RESULT [SECONDS [COMMAND]]: into the summary and onto the screen. A result that begins with FAILED fails the whole.
row() {
  [[ $2 == FAILED* ]] && failed=true
  printf '| %s | %s | %s | %s |\n' "$1" "$2" "${3:-}" "${4:+\`${4//|/\\|}\`}" >>"$results/summary.md"
  say "$1: $2${3:+, $3 s}"
}

# The default model where the programs look for it: a link, or the halves joined.
use_model() {
  local name target
  name=$(basename "$XQS_MODEL_FILE")
  target=$scratch/xqscope/models/$name
  mkdir -p "$(dirname "$target")"
  if [[ -n $halves && -f $halves/$name ]]; then
    ln -s "$(realpath "$halves/$name")" "$target"
  elif [[ -n $halves ]]; then
    cat "$halves/$name".half[12] >"$target" 2>/dev/null || true
  elif [[ -f $XQS_MODEL_FILE ]]; then
    ln -s "$XQS_MODEL_FILE" "$target"
  else
    row model "not here: steps that need it will fail; --model-halves DIR says where it is"
    return
  fi
  XQS_MODEL_FILE=$target
  if model_is_there; then
    row model "there, sha256 as expected"
  else
    rm "$target"
    row model "FAILED: in $halves is not the whole $name (sha256 differs); make the halves again with --split-model"
  fi
}

# Every library must come from the bundle, but for libc, and for the compiler's where the machine has an older libc.
check_libraries() {
  local name path problems=""
  while read -r name path; do
    [[ $name =~ $LIBC || $path == "$XQS_ROOT"/* ]] && continue
    [[ $name =~ $COMPILER && -n $path && $library_path != *compiler* ]] && continue
    problems+=" $name (${path:-not found})"
  done < <(LD_LIBRARY_PATH=$library_path libraries "$XQS_ROOT"/bin/* "$XQS_ROOT"/lib/*.so*)
  if [[ -n $problems ]]; then row libraries "FAILED: not from the bundle:$problems"; else row libraries "all from the bundle"; fi
}

# missing_tool COMMAND: what of the machine's own it needs and is not there; nothing where it can run.
missing_tool() {
  case $1 in
    compute-sanitizer*) command -v compute-sanitizer >/dev/null || printf 'compute-sanitizer' ;;
    ncu*) command -v ncu >/dev/null || printf 'ncu' ;;
    *torch_*) "${environment[@]}" python3 -c 'import torch' >/dev/null 2>&1 || printf 'PyTorch' ;;
  esac
}

# figures: what the step has written, to $JSON, or one object {"a": ..., "b": ...} of $JSON.a, $JSON.b ...
figures() {
  local file separator='{'
  if [[ -s $scratch/json ]]; then
    cat "$scratch/json"
    return
  fi
  for file in "$scratch"/json.*; do
    printf '%s"%s":\n' "$separator" "${file##*/json.}"
    cat "$file"
    separator=,
  done
  printf '}\n'
}

# run_step NAME LIMIT COMMAND
run_step() {
  local name=$1 limit=$2 command=$3 start=$SECONDS left=$((seconds - 5 - SECONDS)) program tool status=0 result skipped
  for program in $(programs <<<"$command"); do
    [[ -x $XQS_ROOT/$program ]] && continue
    row "$name" "FAILED: $program is not in the bundle" "" "$command"
    return
  done
  tool=$(missing_tool "$command")
  if [[ -n $tool ]]; then
    row "$name" "not run: no $tool on this machine" "" "$command"
    return
  fi
  if ((left <= 0)); then
    row "$name" "not run: no time left" "" "$command"
    return
  fi
  ((limit < left)) || limit=$left
  rm -f "$scratch"/json* "$scratch"/store.xqs*
  (cd "$XQS_ROOT" && "${environment[@]}" JSON="$scratch/json" STORE="$scratch/store.xqs" timeout --kill-after=5 "$limit" bash -o pipefail -c "$command") \
    >"$scratch/output" 2>&1 </dev/null || status=$?
  skipped=$(sed -n 's/^\[  SKIPPED \] \([0-9]*\) tests\?, .*/, \1 skipped/p' "$scratch/output")
  ((status != 137 || SECONDS - start < limit)) || status=124 # it did not listen to the first signal
  case $status in
    0) result=passed$skipped ;;
    124) result="FAILED: stopped after $limit s" ;;
    *) result="FAILED: exit code $status" ;;
  esac
  row "$name" "$result" $((SECONDS - start)) "$command"
  printf '\n== %s: %s\n$ %s\n' "$name" "$result" "$command" >>"$results/output.txt"
  tail -c 1000000 "$scratch/output" >>"$results/output.txt"
  [[ ! -s $scratch/store.xqs ]] || mv "$scratch/store.xqs" "$results/$name.xqs"
  ! compgen -G "$scratch/json*" >/dev/null || {
    printf '{"device": %s, "driver": %s, "date": %s, "commit": %s, "command": %s, "figures":\n' "$(json_string "$device")" \
      "$(json_string "$driver")" "$(json_string "$date")" "$(json_string "$commit")" "$(json_string "$command")"
    figures
    printf '}\n'
  } >"$results/$name.json"
}

# from_bundle KEY: a line of bundle.txt.
from_bundle() { sed -n "s/^$1 //p" "$XQS_ROOT/bundle.txt"; }

# ask_gpu FIELD: of every GPU.
ask_gpu() { nvidia-smi --query-gpu="$1" --format=csv,noheader 2>/dev/null | sort -u | paste -sd, || true; }

run_bundle() {
  local libc name limit command
  [[ -f $XQS_ROOT/bundle.txt ]] || die "$XQS_ROOT is no bundle: make one (gpu-bundle.sh OUT), and use the script inside it"
  libc=$(getconf GNU_LIBC_VERSION | sed 's/glibc //')
  at_least "$libc" "$(from_bundle glibc)" ||
    die "this machine has glibc $libc and the bundle needs $(from_bundle glibc): make the bundle on a system as old as this one"
  library_path=$XQS_ROOT/lib
  at_least "$libc" "$(from_bundle glibc-of-compiler)" && library_path+=:$XQS_ROOT/lib/compiler

  mkdir -p "$results"
  [[ -z $(ls -A "$results") ]] || die "$results is not empty: name another folder with --results"
  results=$(realpath "$results")
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  PATH+=:/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer
  # Without a GPU nothing of the user's is handed on: what works then works on any machine. With one, CUDA's variables are.
  environment=(env)
  $dry && environment+=(-i "PATH=/usr/bin:/bin")
  $dry || library_path+=${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  environment+=("HOME=$scratch" "XDG_CACHE_HOME=$scratch" "LD_LIBRARY_PATH=$library_path" "XQS_SHARED=$XQS_ROOT/shared")
  $dry || environment+=("PYTHONUSERBASE=${PYTHONUSERBASE:-$HOME/.local}") # where the user's PyTorch may be

  device=$(ask_gpu name) driver=$(ask_gpu driver_version) date=$(date -u +%Y-%m-%dT%H:%M:%SZ) commit=$(from_bundle commit)
  device=${device:-no GPU that nvidia-smi knows} driver=${driver:-none} failed=false
  cat >"$results/output.txt" <<HEADER
device $device
driver $driver
date $date
commit $commit
command $called
HEADER
  (printf '# XQScope on %s\n\n' "$device" && sed 's/^/- /' "$results/output.txt" &&
    printf '\n| step | result | seconds | command |\n|---|---|---|---|\n') >"$results/summary.md"

  check_libraries
  use_model
  while IFS=$'\t' read -r name limit command; do
    run_step "$name" "$limit" "$command"
  done < <(if $dry; then dry_steps; else steps <"$table"; fi)
  if $dry; then
    for name in $(steps <"$table" | programs); do
      [[ -x $XQS_ROOT/$name ]] || row "$name" "FAILED: not in the bundle, and gpu-steps.txt needs it"
    done
  fi
  say "results: $results"
  if $failed; then die "not everything passed; see $results/summary.md and output.txt"; fi
}

# ---- the command line ------------------------------------------------------------------------------------------------------

called="gpu-bundle.sh $*"
build=$XQS_BUILD table=$XQS_ROOT/packaging/gpu-steps.txt results=xqscope-gpu-results halves="" seconds=540 dry=false
action=make out=$XQS_ROOT/build/xqscope-gpu.tar.gz
while (($#)); do
  case $1 in
    --help | -h)
      printf '%s\n' "$usage"
      exit 0
      ;;
    --run) action=run ;;
    --dry-run) action=run dry=true ;;
    --build | --steps | --results | --model-halves | --seconds | --split-model)
      (($# > 1)) || die "$1 needs a value
$usage"
      case $1 in
        --build) build=$2 ;;
        --steps) table=$2 ;;
        --results) results=$2 ;;
        --model-halves) halves=$2 ;;
        --seconds) seconds=$2 ;;
        --split-model) action=split out=$2 ;;
      esac
      shift
      ;;
    -*) die "unknown option $1
$usage" ;;
    *) out=$1 ;;
  esac
  shift
done

case $action in
  make) make_bundle "$out" ;;
  split) split_model "$out" ;;
  run) run_bundle ;;
esac
