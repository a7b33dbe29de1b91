#!/usr/bin/env python3
"""Pairs the checkpoints of Weir with those of Flink + RocksDB (incremental) on one machine, in turn: how long they took, what they wrote, the longest stall.
    FLINKCTL=path/of/flinkctl bench/checkpoint_pair.py [--rounds 3] [--keys 4000000] [--pad 100] [--rate 60000] [--fill 90] [--count 12]
flinkctl is the script beside the specification of the workloads; it must have been installed (flinkctl install). Each round starts a cluster of one TaskManager
with two slots, runs count for --fill seconds and then measures --count checkpoints, one each 5 s. Bytes written are what the processes gave to the kernel
meanwhile (write_bytes of /proc/PID/io), logs and all: what an engine says of itself leaves out what it writes beside its checkpoints."""
import argparse, os, re, subprocess, sys, time
import cluster

a = cluster.options(argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter),
                    rounds=3, keys=4_000_000, pad=100, rate=60_000, fill=90, count=12)
flinkctl = os.environ.get("FLINKCTL") or sys.exit("set FLINKCTL to the path of flinkctl")
work = os.environ.get("FLINK_WORK") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "flink-anchor")
workload = ["--workload", "count", "--n", str(10**10), "--keys", str(a.keys), "--pad", str(a.pad), "--rate", str(a.rate), "--checkpoint-ms", "5000"]


def written(pids):
    """Bytes that processes and all below them have given to the kernel for the disk."""
    total, todo = 0, list(pids)
    while todo:
        pid = todo.pop()
        try:
            total += int(re.search(r"^write_bytes: (\d+)", open(f"/proc/{pid}/io").read(), re.M)[1])
            todo += open(f"/proc/{pid}/task/{pid}/children").read().split()
            for t in os.listdir(f"/proc/{pid}/task"):
                if t != str(pid):
                    todo += open(f"/proc/{pid}/task/{t}/children").read().split()
        except FileNotFoundError:
            pass
    return total


def measure(rest, job, pids):
    time.sleep(a.fill)
    before = written(pids)
    out = subprocess.run([sys.executable, os.path.dirname(os.path.abspath(__file__)) + "/checkpoints.py", rest, job, str(a.count)], capture_output=True, text=True, check=True).stdout
    wrote = (written(pids) - before) / a.count
    last = out.strip().splitlines()[-1]
    return float(re.search(r"duration-median=(\d+)", last)[1]), float(re.search(r"new-mean=([\d.]+)", last)[1]), f"{last} wrote-to-disk={wrote / 1e6:.1f}MB"


def flink(*args, **env):
    return subprocess.run(["bash", flinkctl, *args], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ | env)


def flink_round():
    flink("start", "1", "2")
    try:
        out = flink("run", "bench.Anchor", *workload, "--backend", "rocksdb", RUN_FLAGS="-d").stdout
        job = re.search(r"JobID ([0-9a-f]{32})", out)[1]
        return measure("127.0.0.1:18081", job, open(work + "/tm.pids").read().split() + open(work + "/jm.pid").read().split())
    finally:
        flink("stop")


def weir_round():
    with cluster.Cluster(a) as c:
        job = c.run(*workload, "--backend", "pebble")
        return measure(f"127.0.0.1:{a.rest}", job, [v.pid for v in c.started.values()])


ratios = []
for n in range(a.rounds):
    f, w = flink_round(), weir_round()
    ratios.append((w[0] / f[0], w[1] / f[1]))
    print(f"round={n + 1}\n  flink {f[2]}\n  weir  {w[2]}\n  duration-ratio={ratios[-1][0]:.3f} new-ratio={ratios[-1][1]:.3f}", flush=True)
middle = lambda l: sorted(l)[len(l) // 2]
print(f"checkpoints weir/flink rounds={a.rounds} duration-ratio-median={middle([r[0] for r in ratios]):.3f} new-ratio-median={middle([r[1] for r in ratios]):.3f}")
