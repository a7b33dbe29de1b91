#!/usr/bin/env bash
# Pairs Weir with a warm Flink on one machine, in turn, and prints the ratio of each round.
#   FLINKCTL=path/of/flinkctl bench/pair.sh [ROUNDS] [WORKLOAD…]
# flinkctl is the script beside the specification of the workloads; it must have been
# installed (flinkctl install). The engines never run at once: Flink's cluster stays
# up, idle, while Weir runs. The first Flink run of each workload is not counted.
set -euo pipefail
rounds=${1:-3}; shift || true
workloads=${*:-count-heap count-pebble words latency}
: "${FLINKCTL:?set it to the path of flinkctl}"
here=$(cd "$(dirname "$0")/.." && pwd)
weir=${WEIR_BENCH:-$here/bin/bench}
[ -x "$weir" ] || { echo "build it first: make bench, or go build -o bin/bench ./bench" >&2; exit 1; }

flink() { bash "$FLINKCTL" run bench.Anchor "$@" 2>/dev/null | grep '^workload='; }
rate() { sed -n 's/.*rate=\([0-9.]*\).*/\1/p'; }
field() { sed -n "s/.*$1=\([^ ]*\).*/\1/p"; }

run_pair() { # name, flink arguments, weir arguments
  local name=$1 f w ratios=()
  echo "== $name"
  f=$(flink $2); echo "warm-up flink $f"
  for i in $(seq "$rounds"); do
    f=$(flink $2); echo "flink $f"
    w=$("$weir" $3); echo "weir  $w"
    ratios+=("$(awk -v a="$(echo "$w" | rate)" -v b="$(echo "$f" | rate)" 'BEGIN { if (b > 0) printf "%.2f", a / b; else print "-" }')")
  done
  echo "ratios $name: ${ratios[*]}  median $(printf '%s\n' "${ratios[@]}" | sort -n | sed -n "$(((rounds + 1) / 2))p")"
}

bash "$FLINKCTL" start 1 2
trap 'bash "$FLINKCTL" stop' EXIT
for w in $workloads; do
  case $w in
    count-heap) run_pair count-heap "--workload count --n 20000000 --keys 1000000 --backend hashmap --checkpoint-ms 1000" \
      "--workload count --n 100000000 --keys 1000000 --backend heap --checkpoint-ms 1000 --parallelism 2" ;;
    count-pebble) run_pair count-pebble "--workload count --n 5000000 --keys 1000000 --backend rocksdb --checkpoint-ms 1000" \
      "--workload count --n 20000000 --keys 1000000 --backend pebble --checkpoint-ms 1000 --parallelism 2" ;;
    words) run_pair words "--workload words --n 2000000 --keys 10000 --backend hashmap" \
      "--workload words --n 2000000 --keys 10000 --backend heap --parallelism 2" ;;
    latency) run_pair latency "--workload latency --n 2500000 --keys 100000 --rate 100000 --backend hashmap --checkpoint-ms 1000" \
      "--workload latency --n 2500000 --keys 100000 --rate 100000 --backend heap --checkpoint-ms 1000 --parallelism 2" ;;
    *) echo "unknown workload $w" >&2; exit 2 ;;
  esac
done
