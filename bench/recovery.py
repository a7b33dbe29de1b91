#!/usr/bin/env python3
"""Kills (SIGKILL) a TaskManager that runs half of a job, several times, and prints how long the job needs each time:
until every subtask runs again, until each sink subtask has written its first result, until the next completed checkpoint.
    bench/recovery.py [--weir bin/weir] [--bench bin/bench] [--rounds 3] [--keys 8000000] [--pad 100] [--rate 300000] [--gib 1] [--backend pebble]
A cluster of its own: one JobManager, three one-slot TaskManagers, so that there is a spare slot; count with a checkpoint each 5 s, two subtasks.
The victim is started again, and the job has its spare slot and a new checkpoint, before the next kill."""
import argparse, datetime, glob, json, os, re, shutil, signal, subprocess, sys, tempfile, time, urllib.request

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
for name, default in (("weir", root + "/bin/weir"), ("bench", root + "/bin/bench"), ("rounds", 3), ("keys", 8_000_000), ("pad", 100),
                      ("rate", 300_000), ("gib", 1.0), ("backend", "pebble"), ("rest", 18181), ("rpc", 16181)):
    p.add_argument("--" + name, type=type(default), default=default)
p.add_argument("--config", action="append", default=[], help="KEY=VALUE for the job")
a = p.parse_args()
folder = tempfile.mkdtemp(prefix="weir-recovery-")
rest = f"http://127.0.0.1:{a.rest}"
started = {}


def start(name, *args):
    log = open(f"{folder}/{name}.log", "a")
    started[name] = subprocess.Popen([a.weir, *args], stdout=log, stderr=log)


def taskmanager(i):
    start(f"tm{i}", "taskmanager", "--jobmanager", f"127.0.0.1:{a.rpc}", "--slots", "1", "--data", f"{folder}/tm{i}")


def get(path):
    return json.load(urllib.request.urlopen(rest + path, timeout=10))


def until(what, f, seconds=600):
    end = time.time() + seconds
    while time.time() < end:
        try:
            if v := f():
                return v
        except OSError:
            pass
        time.sleep(0.02)
    sys.exit(f"{what}: not within {seconds} s; logs are in {folder}")


def describe():
    return json.loads(subprocess.run([a.weir, "describe", job, "-o", "json", "-m", f"127.0.0.1:{a.rest}"], capture_output=True, check=True).stdout)


def parse(t):
    return datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", t.replace("Z", "+00:00"))).timestamp()


def subtasks():
    return [s for v in describe()["vertices"] for s in v["subtasks"]]


def all_running(t0):
    since = [parse(s["since"]) for s in subtasks() if s["state"] == "RUNNING"]
    return max(since) - t0 if len(since) == len(subtasks()) and min(since) >= t0 else None


def first_results(t0):
    """When the last of the sink's two subtasks wrote its first result after t0."""
    at = {}
    for path in glob.glob(f"{folder}/tm*/**/worker-*.log", recursive=True):
        for line in open(path, errors="replace"):
            if "first result" in line and (t := parse(re.search(r"time=(\S+)", line)[1])) >= t0 - 0.001:
                at[re.search(r"subtask=(\S+)", line)[1]] = t - t0
    return max(at.values()) if len(at) == 2 else None


def checkpoint():
    c = describe().get("last-completed-checkpoint") or {}
    return c.get("id", 0), c.get("bytes", 0)


try:
    start("jm", "jobmanager", "--rest", f"127.0.0.1:{a.rest}", "--rpc", f"127.0.0.1:{a.rpc}", "--data", f"{folder}/jm")
    for i in range(3):
        taskmanager(i)
    until("three TaskManagers", lambda: get("/overview")["taskmanagers"] == 3, 30)
    config = [x for c in a.config for x in ("-D", c)]
    job = subprocess.run([a.weir, "run", "-d", "-p", "2", "-m", f"127.0.0.1:{a.rest}", *config, a.bench, "--", "--workload", "count", "--n", "100000000000", "--keys", str(a.keys),
                          "--pad", str(a.pad), "--backend", a.backend, "--rate", str(a.rate), "--checkpoint-ms", "5000"], capture_output=True, check=True, text=True).stdout.split()[-1]
    until("state", lambda: checkpoint()[1] >= a.gib * 2**30)
    rounds = []
    for n in range(a.rounds):
        id, size = checkpoint()
        until("checkpoint", lambda: checkpoint()[0] > id, 60)
        pid = next(s["taskmanager-pid"] for s in subtasks())
        name = next(k for k, v in started.items() if v.pid == pid)
        t0 = time.time()
        os.kill(pid, signal.SIGKILL)
        started[name].wait()
        running = until("running again", lambda: all_running(t0), 120)
        result = until("first results", lambda: first_results(t0), 120)
        id, _ = checkpoint()
        until("checkpoint", lambda: checkpoint()[0] > id, 120)
        done = time.time() - t0
        rounds.append(result)
        print(f"round={n + 1} state={size / 2**30:.2f}GiB running={running:.2f}s first-result={result:.2f}s next-checkpoint={done:.2f}s", flush=True)
        taskmanager(int(name[2:]))
        until("a spare slot", lambda: get("/overview")["slots-available"] == 1, 60)
    print(f"recovery rounds={a.rounds} median={sorted(rounds)[len(rounds) // 2]:.2f}s max={max(rounds):.2f}s")
finally:
    for v in started.values():
        v.terminate()
    for v in started.values():
        v.wait()
    if sys.exc_info()[0] in (None, KeyboardInterrupt):
        shutil.rmtree(folder)
