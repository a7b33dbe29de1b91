#!/usr/bin/env python3
"""Kills (SIGKILL) a TaskManager that runs half of a job, several times, and prints how long the job needs each time:
until every subtask runs again, until each sink subtask has written its first result, until the next completed checkpoint.
    bench/recovery.py [--victim taskmanager|worker] [--rounds 3] [--keys 8000000] [--pad 100] [--rate 300000] [--gib 1] [--backend pebble] [--config execution.state-recovery.from-local=false]
A cluster of its own: one JobManager, three one-slot TaskManagers, so that there is a spare slot; count with a checkpoint each 5 s, two subtasks.
The victim is started again, and the job has its spare slot and a new checkpoint, before the next kill. A killed worker's subtask starts where its state lies
on the local disk; that of a killed TaskManager starts on the spare, which has nothing of it."""
import argparse, os, signal, sys, time
import cluster

a = cluster.options(argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter),
                    rounds=3, keys=8_000_000, pad=100, rate=300_000, gib=1.0, backend="pebble", victim="taskmanager")


def all_running(c, t0):
    all = c.subtasks()
    since = [cluster.parse(s["since"]) for s in all if s["state"] == "RUNNING"]
    return max(since) - t0 if len(since) == len(all) and min(since) >= t0 else None


with cluster.Cluster(a, taskmanagers=3, slots=1) as c:
    c.run("--workload", "count", "--n", 10**11, "--keys", a.keys, "--pad", a.pad, "--backend", a.backend, "--rate", a.rate, "--checkpoint-ms", 5000)
    c.until("state", lambda: c.checkpoint()[1] >= a.gib * 2**30)
    rounds, ran = [], []
    for n in range(a.rounds):
        c.next_checkpoint()
        size = c.checkpoint()[1]
        s = c.subtasks()[0]
        name = next(k for k, v in c.started.items() if v.pid == s["taskmanager-pid"])
        t0 = time.time()
        os.kill(s[a.victim + "-pid"], signal.SIGKILL)
        if a.victim == "taskmanager":
            c.started[name].wait()
        running = c.until("running again", lambda: all_running(c, t0), 120)
        result = c.until("first results", lambda: c.first_results(t0, 2), 120) - t0
        c.next_checkpoint()
        done = time.time() - t0
        rounds.append(result)
        ran.append(running)
        print(f"round={n + 1} state={size / 2**30:.2f}GiB running={running:.2f}s first-result={result:.2f}s next-checkpoint={done:.2f}s", flush=True)
        if a.victim == "taskmanager":
            c.taskmanager(int(name[2:]))
        c.until("a spare slot", lambda: c.get("/overview")["slots-available"] == 1, 60)
    middle = lambda l: sorted(l)[len(l) // 2]
    print(f"recovery rounds={a.rounds} running-median={middle(ran):.2f}s first-result-median={middle(rounds):.2f}s max={max(rounds):.2f}s")
