#!/usr/bin/env python3
"""Takes savepoints of a job that runs as fast as it can, and prints its throughput before and meanwhile.
    bench/savepoint.py [--rounds 3] [--type canonical] [--keys 8000000] [--pad 100] [--gib 1] [--backend pebble]
A cluster of its own: one JobManager, one TaskManager of two slots; count with a checkpoint each 5 s. Throughput is the records that the counting subtasks
report, in the 20 s before the savepoint is asked for, and from then until it is complete."""
import argparse, json, threading, time
import cluster

a = cluster.options(argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter),
                    rounds=3, type="canonical", keys=8_000_000, pad=100, gib=1.0, backend="pebble", rate=0)
with cluster.Cluster(a) as c:
    rate = ("--rate", a.rate) if a.rate else ()
    c.run("--workload", "count", "--n", 10**11, "--keys", a.keys, "--pad", a.pad, "--backend", a.backend, *rate, "--checkpoint-ms", 5000)
    c.until("state", lambda: c.checkpoint()[1] >= a.gib * 2**30)
    falls = []
    for n in range(a.rounds):
        c.next_checkpoint()
        marks, stop = [], threading.Event()

        def watch():
            while not stop.is_set():
                marks.append((time.time(), sum(s["metrics"]["read-records"] for s in c.get(f"/jobs/{c.job}/describe")["vertices"][-1]["subtasks"])))
                time.sleep(0.5)

        w = threading.Thread(target=watch)
        w.start()
        time.sleep(20)
        t0 = time.time()
        where = json.loads(c.weir("savepoint", c.job, f"{c.folder}/savepoints", "--type", a.type, "-o", "json"))["location"]
        t1 = time.time()
        time.sleep(2)
        stop.set()
        w.join()

        def throughput(a, b):
            inside = [m for m in marks if a <= m[0] <= b]
            return (inside[-1][1] - inside[0][1]) / (inside[-1][0] - inside[0][0])

        before, meanwhile = throughput(t0 - 20, t0), throughput(t0, t1)
        falls.append(1 - meanwhile / before)
        print(f"round={n + 1} savepoint={t1 - t0:.1f}s before={before:.0f}/s meanwhile={meanwhile:.0f}/s fall={100 * falls[-1]:.1f}%", flush=True)
        c.weir("savepoint", "-d", where)
    print(f"savepoint type={a.type} fall-median={100 * sorted(falls)[len(falls) // 2]:.1f}%")
