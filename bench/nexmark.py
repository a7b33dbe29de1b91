#!/usr/bin/env python3
"""Runs the NEXMark queries one after the other on both state backends, each in a process of its own, and prints a table of their rates.
    bench/nexmark.py [--n 10000000] [--rounds 3] [--parallelism 2] [--checkpoint-ms 1000] [--queries q3,q5] [--bench bin/bench]
Rates are events a second read by the source (the median of the rounds); the checksums of all rounds and backends of a query must be the same,
else it ends with 1. (Of q12, which goes by the wall clock, the number of results may differ.)"""
import argparse, re, statistics, subprocess, sys

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--n", type=int, default=10_000_000)
p.add_argument("--rounds", type=int, default=3)
p.add_argument("--parallelism", type=int, default=2)
p.add_argument("--checkpoint-ms", type=int, default=1000)
p.add_argument("--queries", default="q0,q1,q2,q3,q4,q5,q6,q7,q8,q9,q11,q12,q13")
p.add_argument("--bench", default="bin/bench")
a = p.parse_args()
backends = ["heap", "pebble"]


def run(query, backend):
    out = subprocess.run([a.bench, "--workload", "nexmark", "--query", query, "--n", str(a.n), "--backend", backend,
                          "--parallelism", str(a.parallelism), "--checkpoint-ms", str(a.checkpoint_ms)], stdout=subprocess.PIPE, text=True, check=True).stdout
    m = re.search(r"rate=(\d+)/s results=(\d+) checksum=([0-9a-f]{16})", out)
    return int(m[1]), int(m[2]), m[3]


wrong = []
print("| query | " + " | ".join(b + ", events/s" for b in backends) + " | results | checksum |")
print("|---|" + "---|" * (len(backends) + 2), flush=True)
for q in a.queries.split(","):
    rates, results, checksums = {b: [] for b in backends}, set(), set()
    for _ in range(a.rounds):
        for b in backends:
            rate, n, checksum = run(q, b)
            rates[b].append(rate)
            results.add(n)
            checksums.add(checksum)
    if len(checksums) > 1 or len(results) > 1 and q != "q12":
        wrong.append(q)
    print(f"| {q} | " + " | ".join(f"{statistics.median(rates[b]):,.0f}" for b in backends) +
          f" | {'–'.join(f'{n:,}' for n in sorted({min(results), max(results)}))} | {' '.join(sorted(checksums))} |", flush=True)
if wrong:
    sys.exit(f"results differ: {', '.join(wrong)}")
