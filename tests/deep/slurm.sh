#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A real Slurm on this machine (munge, slurmctld, two slurmd): the script that `xqscope-cli slurm` writes is submitted, waited
# for, and its merged store compared with one process's, figure for figure. Not part of CI: it installs Debian packages and
# needs root. Exit code 77: Slurm cannot be installed or started here.
#   tests/deep/slurm.sh [xqscope-cli]       default: build/release/bin/xqscope-cli
set -euo pipefail

root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
cli=$(realpath "${1:-$root/build/release/bin/xqscope-cli}")

say() { printf '== %s\n' "$*"; }
skip() {
  printf 'SKIPPED: %s\n' "$*" >&2
  exit 77
}
# wait_for SECONDS WHAT COMMAND...
wait_for() {
  local left=$1 what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((left-- > 0)) || return 1
    sleep 1
  done
  say "$what"
}

[[ $EUID -eq 0 ]] || skip "this test starts daemons and needs root"
if ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  # Debian's packages would start the daemons, which fails without a configuration.
  policy=/usr/sbin/policy-rc.d
  [[ -e $policy ]] || {
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
    trap 'rm -f $policy' EXIT
  }
  apt-get update -qq || skip "apt has no network"
  apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null 2>&1 || skip "apt cannot install slurm-wlm and munge"
  [[ -z $(trap -p EXIT) ]] || rm -f $policy
fi

work=$(mktemp -d /tmp/xqscope-slurm-XXXXXX)
pids=()
stop() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap stop EXIT

# Everything of this cluster lies in one folder: nothing of the machine's own configuration is touched.
mkdir -p "$work"/{munge,state,spool1,spool2,log}
chown munge: "$work/munge"
chmod 711 "$work"
dd if=/dev/urandom of="$work/munge/key" bs=1024 count=1 status=none
chown munge: "$work/munge/key"
chmod 400 "$work/munge/key"
host=$(hostname -s)
cat >"$work/slurm.conf" <<CONF
ClusterName=xqscope
SlurmctldHost=$host(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CredType=cred/munge
SlurmUser=root
SlurmctldPort=17002
SlurmctldPidFile=$work/slurmctld.pid
SlurmctldLogFile=$work/log/slurmctld.log
SlurmdPidFile=$work/slurmd-%n.pid
SlurmdLogFile=$work/log/slurmd-%n.log
SlurmdSpoolDir=$work/spool-%n
StateSaveLocation=$work/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
NodeName=node1 NodeHostname=$host NodeAddr=127.0.0.1 Port=17003 CPUs=1 RealMemory=1000
NodeName=node2 NodeHostname=$host NodeAddr=127.0.0.1 Port=17004 CPUs=1 RealMemory=1000
PartitionName=test Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$work/slurm.conf

setpriv --reuid=munge --regid=munge --clear-groups munged --foreground --key-file="$work/munge/key" \
  --socket="$work/munge/socket" --pid-file="$work/munge/pid" --seed-file="$work/munge/seed" --log-file="$work/munge/log" &
pids+=($!)
wait_for 20 "munged answers" sh -c "munge -n --socket='$work/munge/socket' | unmunge --socket='$work/munge/socket'" ||
  skip "munged does not start: $(tail -n 3 "$work/munge/log" 2>/dev/null)"
slurmctld -D -f "$SLURM_CONF" >"$work/log/slurmctld.out" 2>&1 &
pids+=($!)
wait_for 30 "slurmctld answers" scontrol ping || skip "slurmctld does not start: $(tail -n 3 "$work/log/slurmctld.out")"
for node in node1 node2; do
  slurmd -D -N "$node" -f "$SLURM_CONF" >"$work/log/$node.out" 2>&1 &
  pids+=($!)
done
both_idle() { [[ $(sinfo -h -N -t idle -o %N | sort -u | wc -l) -eq 2 ]]; }
wait_for 60 "two nodes are idle" both_idle || {
  tail -n 5 "$work"/log/*
  skip "the nodes do not come up"
}
sinfo --version
sinfo -N -o "%N %T %c" | sort -u

# A study of two runs and 36 points.
cat >"$work/study.json" <<'STUDY'
{"name": "two nodes",
 "base": {"model": "synthetic:layers=4,d=64,heads=4,kv_heads=2,vocab=256", "window": 64, "windows": 2, "lanes": 1, "noise_floor": true},
 "policies": ["fp16", "low-rank:rank=16"],
 "grid": {"policy": ["xquant", "kivi-star", "xquant-cl:source=x,domain=residual", "plan:1=kivi-star:bits=2"], "bits": [2, 4],
          "state": ["all", "stream"]}}
STUDY
say "the study in one process"
"$cli" run "$work/study.json" --store "$work/one.xqs" --threads 1
say "the study on two nodes, four shards"
"$cli" slurm "$work/study.json" --store "$work/two.xqs" --shards 4 --cpus 1 --partition test --time 10 -o "$work/study.sh"
bash "$work/study.sh" | sed "s#$work/##"
queue_empty() { [[ -z $(squeue -h) ]]; }
for _ in $(seq 120); do
  squeue -h -o '%i %T %N' | sed 's/^/   /'
  ! queue_empty || break
  sleep 1
done
wait_for 60 "the queue is empty" queue_empty
[[ -e $work/two.xqs ]] || {
  tail -n 20 "$work"/*.log
  say "no merged store"
  exit 1
}
say "tasks ran on: $(grep -l . "$work"/two.xqs.slurm-*.log | wc -l) logs"
cat "$work"/two.xqs.slurm-*.log | sed "s#$work/##" | sort
[[ -z $(find "$work" -name 'two.xqs.shard-*') ]] || {
  say "shards were left behind"
  exit 1
}

say "comparing the merged store with that of one process, figure for figure"
"$cli" export "$work/one.xqs" --json >"$work/one.json"
"$cli" export "$work/two.xqs" --json >"$work/two.json"
python3 - "$work/one.json" "$work/two.json" <<'PYTHON'
import json, sys

ASIDE = {"id", "uuid", "started_utc", "ended_utc", "seconds", "threads", "machine", "device", "nanoseconds"}

def figures(path):
    store = json.load(open(path))
    keys = {run["id"]: run["study_key"] for run in store["run"]}
    result = {}
    for table, rows in store.items():
        if not isinstance(rows, list) or table in ("log", "run_end"):
            continue
        plain = []
        for row in rows:
            row = {name: value for name, value in row.items() if name not in ASIDE}
            if "run" in row:
                row["run"] = keys[row["run"]]
            if "spec" in row:
                spec = json.loads(row["spec"])
                spec.pop("threads")
                row["spec"] = spec
            plain.append(json.dumps(row, sort_keys=True))
        result[table] = sorted(plain)
    return result

one, two = map(figures, sys.argv[1:])
failed = False
for table in one:
    same = one[table] == two[table]
    failed = failed or not same
    print(f"   {table}: {len(one[table])} rows, {'equal' if same else 'DIFFERENT, ' + str(len(two[table])) + ' rows'}")
sys.exit(failed)
PYTHON
say "submitting it again computes nothing"
bash "$work/study.sh" >/dev/null
wait_for 120 "the queue is empty" queue_empty
"$cli" export "$work/two.xqs" --json >"$work/again.json"
python3 -c 'import json, sys
a, b = (len(json.load(open(f))["window_result"]) for f in sys.argv[1:])
print("   windows before and after:", a, b)
sys.exit(a != b)' "$work/two.json" "$work/again.json"
say "passed"
