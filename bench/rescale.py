#!/usr/bin/env python3
"""Rescales a running job 2 → 3 → 2 and prints how long its output pauses: from the last result of the subtasks before to the first of each after.
    bench/rescale.py [--rounds 3] [--keys 8000000] [--pad 100] [--rate 150000] [--gib 1] [--backend pebble]
A cluster of its own: one JobManager, three one-slot TaskManagers; count with a checkpoint each 5 s."""
import argparse, time
import cluster

a = cluster.options(argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter),
                    rounds=3, keys=8_000_000, pad=100, rate=150_000, gib=1.0, backend="pebble")
with cluster.Cluster(a, taskmanagers=3, slots=1) as c:
    c.run("--workload", "count", "--n", 10**11, "--keys", a.keys, "--pad", a.pad, "--backend", a.backend, "--rate", a.rate, "--checkpoint-ms", 5000)
    c.until("state", lambda: c.checkpoint()[1] >= a.gib * 2**30)
    pauses = []
    for n in range(a.rounds):
        for p in 3, 2:
            c.next_checkpoint()
            size, t0 = c.checkpoint()[1], time.time()
            c.weir("rescale", c.job, "-p", str(p))
            first = c.until("first results", lambda: c.first_results(t0, p), 120)
            last = max(t for t, _ in c.logged("last result", t0) if t < first)
            pauses.append(first - last)
            print(f"round={n + 1} to={p} state={size / 2**30:.2f}GiB pause={first - last:.2f}s asked-to-first-result={first - t0:.2f}s", flush=True)
    print(f"rescale pause-median={sorted(pauses)[len(pauses) // 2]:.2f}s max={max(pauses):.2f}s")
