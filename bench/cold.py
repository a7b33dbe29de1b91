#!/usr/bin/env python3
"""Runs count over state larger than memory (30 M records, 4 M keys, pad 100, a TaskManager of 256 MiB with two slots) and prints how far it has come, and its line.
    bench/cold.py [--n 30000000] [--keys 4000000] [--pad 100] [--memory 256m]"""
import argparse, time
import cluster

a = cluster.options(argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter), n=30_000_000, keys=4_000_000, pad=100, memory="256m")
with cluster.Cluster(a, config=(f"taskmanager.memory.process.size={a.memory}",)) as c:
    c.run("--workload", "count", "--n", a.n, "--keys", a.keys, "--pad", a.pad, "--backend", "pebble")
    t0 = time.time()
    while (d := c.describe())["state"] in ("CREATED", "RUNNING"):
        done = sum((s.get("metrics") or {}).get("read-records", 0) for s in d["vertices"][-1]["subtasks"])
        print(f"{time.time() - t0:.0f}s records={done}", flush=True)
        time.sleep(20)
    print(d["result"]["closing-line"] if d.get("result") else d["state"])
