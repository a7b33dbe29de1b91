// Command bench is a job that runs the measured workloads. Alone it is a cluster in
// one process; `weir run` runs the same on a real one:
//
//	go run ./bench --workload count --n 20000000 --keys 1000000 --backend heap --checkpoint-ms 1000
//	weir run ./bench -- --workload words
//
// Its last line has the number of results and their checksum, which depend on
// workload, n and keys alone: not on parallelism, backend or failures in between.
//
//	workload=count n=20000000 ms=25863 rate=773305/s results=20000000 checksum=797ebb8d892a5b3b
//
// Records are numbered i = 0 … n−1; mix is splitmix64's output function.
//
//	count    keys mix(i) mod K; a running count c by key, every update emitted; a
//	         result is mix(key·1000003 + c). --pad P: a second state of P bytes is
//	         rewritten with each record. --sink-rate R: the sink takes R results a
//	         second, so that the job is backpressured for as long as it runs
//	words    sentences of 8 words, word j = "w" + decimal(mix(8i+j) mod K); split,
//	         counted by word; a result is mix(word number·1000003 + c)
//	tumbling, sliding, session
//	         count by key and window of 1 s, of 10 s sliding by 1 s, of a session with a
//	         gap of 8 ms; record i has event time ⌊i/1000⌋ ms. See windows.go
//	join     records of two streams with one key, mix(i) mod K and mix(^i) mod K, whose times
//	         are at most 2 ms apart; a result is mix(31·left i + right i)
//	nexmark  one of the NEXMark queries, --query q0 … q9, q11, q12 or q13, on the events of an
//	         auction house; see package nexmark
//	latency  count at a fixed rate; how long records take from where they are made to
//	         the sink, the first 5 s left out
//
// Each workload has a file of its own. Read workload.go first.
package main

import (
	"github.com/weirstream/weir"
)

func main() { weir.Main(build) }
