# SPDX-License-Identifier: Apache-2.0
"""Records tests/data/profile-smollm2-cpu.xqs: what views and reports of profiles are tested on.

    python3 tests/data/record_profile.py build/release/bin/xqscope-cli tests/data/profile-smollm2-cpu.xqs

Runs `xqscope-cli profile` on the default model and the CPU, and keeps of the launches (1000 a step) those of FP16 and XQuant at
512 tokens, so that the file stays small. Everything else is as it was written. Times are those of whatever else the machine did.
"""
import os
import sqlite3
import subprocess
import sys
import tempfile

KEPT = " where context = 512 and policy_index in (0, 2)"


def record(cli, store):
    policies = [word for policy in ("kivi-star", "xquant", "xquant-cl") for word in ("--policy", policy + ":bits=2")]
    subprocess.run([cli, "profile", "--model", "default", "--backend", "cpu", "--contexts", "512,1024,2048", "--steps", "8",
                    *policies, "--store", store], check=True)


def prune(store, out):
    if os.path.exists(out):
        os.remove(out)
    source, target = sqlite3.connect(store), sqlite3.connect(out)
    for pragma in ("application_id", "user_version"):
        target.execute(f"pragma {pragma} = {source.execute(f'pragma {pragma}').fetchone()[0]}")
    schema = source.execute("select type, name, sql from sqlite_master where sql is not null and name not like 'sqlite_%'").fetchall()
    for kind, name, sql in sorted(schema, key=lambda entry: entry[0] != "table"):  # triggers keep rows from being changed
        target.execute(sql)
        if kind != "table":
            continue
        for row in source.execute(f'select * from "{name}"' + (KEPT if name == "kernel" else "") + " order by id"):
            target.execute(f'insert into "{name}" values ({",".join("?" * len(row))})', row)
    target.commit()
    target.execute("vacuum")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        whole = os.path.join(folder, "whole.xqs")
        record(sys.argv[1], whole)
        prune(whole, sys.argv[2])
    print(os.path.getsize(sys.argv[2]), "bytes")
