// Package nexmark is the NEXMark benchmark as Weir jobs: a generator of events of an
// auction house (people who join it, auctions that they open, bids on them) and the
// queries q0 … q9, q11, q12 and q13 on them.
//
// NEXMark is by Tucker, Tufte, Papadimos and Maier (OGI, 2002); the shape of the events
// and all constants of the generator are those of Apache Beam's GeneratorConfig,
// NexmarkConfiguration and the generators beside them, the queries are Beam's, and
// nexmark/nexmark's for Flink SQL, which says more exactly what some results are. Where the
// two differ, the comment of the query says which one it follows.
//
// Event i is a pure function of i (Config.Event), so every run, at any parallelism and
// after any failure, reads the same input. Random numbers come from splitmix64, not from
// java.util.Random, and the padding is cut from a fixed text: events have the same
// distribution as Beam's, not the same bytes. So results compare between runs of Weir, and
// rates with whoever reads the same events.
//
// A query is a function of the stream of events, typed from end to end:
//
//	events := nexmark.Events(env, nexmark.Default(), 1_000_000)
//	nexmark.Q5(events).Print()
//
// Each result has a Checksum; the wrapping sum of all of them does not depend on their
// order. All queries but q12, which goes by the wall clock, come to the same sum in every
// run; the tests of the package compare it with programs that go through the events by
// themselves.
//
// The package starts no goroutine and reads no clock.
//
// Read events.go first, then generator.go, then the queries: simple.go, joins.go,
// auctions.go, windows.go.
package nexmark
