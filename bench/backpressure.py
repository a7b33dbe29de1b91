#!/usr/bin/env python3
"""How long checkpoints take while the sink is slow, so that everything before it waits: under 2 s is wanted, however long that lasts.
    bench/backpressure.py [--rounds 2] [--count 24] [--workload words] [--sink-rate 2000] [--interval 5000] [--taskmanagers 2]
Each round starts a cluster of its own with default settings, has the job run for half a minute, and then measures --count checkpoints."""
import argparse, os, subprocess, sys, time
import cluster

a = cluster.options(argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter),
                    rounds=2, count=24, workload="count", sink_rate=2000.0, interval=5000, taskmanagers=2)
for n in range(a.rounds):
    with cluster.Cluster(a, taskmanagers=a.taskmanagers, slots=2 // a.taskmanagers or 1) as c:
        job = c.run("--workload", a.workload, "--n", 10**10, "--sink-rate", a.sink_rate, "--checkpoint-ms", a.interval)
        time.sleep(30)
        out = subprocess.run([sys.executable, os.path.dirname(os.path.abspath(__file__)) + "/checkpoints.py", f"127.0.0.1:{a.rest}", job, str(a.count)],
                             capture_output=True, text=True, check=True).stdout.strip().splitlines()
        failed = c.get(f"/jobs/{job}/checkpoints")["counts"]["failed"]
        print(f"round={n + 1} {out[-1]} failed={failed}", flush=True)
