#!/usr/bin/env python3
"""Watches the checkpoints of a running job, of Weir or of Flink (the paths are the same), and prints how long they took and what they wrote.
    bench/checkpoints.py REST JOB [COUNT]
REST is host:port. The next COUNT (default 12) completed checkpoints are measured; longest-stall, the longest pause of processing that one caused, is Weir's only.
The workload of the figures: count --keys 4000000 --pad 100 --rate 60000 --checkpoint-ms 5000, after 90 s."""
import json, sys, time, urllib.error, urllib.request

if len(sys.argv) < 3:
    sys.exit(__doc__)
rest, job, count = sys.argv[1], sys.argv[2], int((sys.argv + ["12"])[3])


def get(path):
    return json.load(urllib.request.urlopen(f"http://{rest}{path}", timeout=10))


def stall(id):
    """ms, or None where the engine does not say."""
    try:
        vertices = get(f"/jobs/{job}/checkpoints/details/{id}/describe").get("vertices", [])
    except (urllib.error.HTTPError, ValueError):
        return None
    return max((s["longest-stall-ms"] for v in vertices for s in v["subtasks"]), default=None)


seen, got = set(), []
first = True
while len(got) < count:
    done = [c for c in get(f"/jobs/{job}/checkpoints")["history"] if c["status"] == "COMPLETED" and c["id"] not in seen]
    seen |= {c["id"] for c in done}
    for c in [] if first else sorted(done, key=lambda c: c["id"]):
        c["stall"] = stall(c["id"])
        got.append(c)
        print(f"id={c['id']} duration={c['end_to_end_duration']}ms new={c['checkpointed_size'] / 1e6:.1f}MB state={c['state_size'] / 1e6:.0f}MB"
              + (f" longest-stall={c['stall']}ms" if c["stall"] is not None else ""), flush=True)
    first = False
    time.sleep(1)
durations = sorted(c["end_to_end_duration"] for c in got)
stalls = [c["stall"] for c in got if c["stall"] is not None]
print(f"checkpoints={len(got)} duration-median={durations[len(got) // 2]}ms duration-max={durations[-1]}ms new-mean={sum(c['checkpointed_size'] for c in got) / len(got) / 1e6:.1f}MB"
      + (f" longest-stall={max(stalls)}ms" if stalls else ""))
