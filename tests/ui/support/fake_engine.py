#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speaks the engine's protocol without computing anything. The first argument is what goes wrong:
good, deaf (ignores cancel), crash (dies in a run), stillborn (dies at once), crash-loading, chatty (noise between events).
With a GPU, which "auto" is then: gpu-fault (it fails in a run), gpu-fault-loading, gpu-crash (the engine dies in a run on it),
gpu-hang (it fails, and the engine does not end)."""
import json
import os
import signal
import sys
import time

mode = sys.argv[1] if len(sys.argv) > 1 else "good"


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


if mode == "stillborn":
    print("cannot load libfoo", file=sys.stderr)
    sys.exit(7)



def gpu_fails():
    say("backend-failed", backend="cuda", code="out-of-memory", message="10 MiB needed, 1 MiB free")
    while mode == "gpu-hang":
        time.sleep(1)
    sys.exit(5)


gpu = mode.startswith("gpu-")
say("hello", version="fake", backends=[{"name": "cpu", "reason": None}, {"name": "cuda", "reason": None if gpu else "no GPU"}])
run = 0
backend = "cpu"
for line in sys.stdin:
    request = json.loads(line)
    cmd = request["cmd"]
    if mode == "chatty":
        print("BLAS says hello\n{not json}", flush=True)
    if cmd == "open":
        backend = "cuda" if gpu and request["backend"] == "auto" else request["backend"].replace("auto", "cpu")
        say("loading", fraction=0.5, text="weights", backend=backend)
        if mode == "gpu-fault-loading" and backend == "cuda":
            gpu_fails()
        if mode == "crash-loading":
            os.kill(os.getpid(), signal.SIGKILL)
        if request["model"] == "missing.gguf":
            say("error", code="not-found", message="missing.gguf is not there; choose another model")
            continue
        say("model", backend=backend, device="fake " + backend, backend_note="" if gpu else "CUDA is not used: no GPU",
            name=request["model"], text=request["text"], vocab=100, tokens=5000, preview_run=1,
            shape={"layers": 4, "d": 64, "heads": 4, "kv_heads": 2, "dh": 16})
    elif cmd in ("run", "generate", "profile"):
        if not request["spec"]["policies"]:
            say("error", code="usage", message="no policies")
            continue
        run += 1
        say("run-started", run=run + 1)
        say("progress", run=run + 1, done=10, total=100, tokens_per_second=50.0, seconds_left=1.8, text="window 1 of 2")
        if mode in ("gpu-fault", "gpu-hang") and backend == "cuda":
            say("run-ended", run=run + 1, status="failed", message="10 MiB needed, 1 MiB free", code="out-of-memory")
            gpu_fails()
        if mode == "crash" or (mode == "gpu-crash" and backend == "cuda"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if request["spec"].get("seed") == 1:
            say("run-ended", run=run + 1, status="finished", message="")
    elif cmd == "cancel" and mode != "deaf":
        say("run-ended", run=run + 1, status="cancelled", message="cancelled by the user")
    elif cmd == "preview":
        time.sleep(0.05)
        if request["policy"].startswith("bad"):
            say("preview-failed", message="bad policy")
        else:
            say("preview", run=1, policy_index=0, policy=request["policy"], milliseconds=50.0)
    elif cmd == "quit":
        break
