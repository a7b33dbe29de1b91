package task

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/coordinator/restore"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/align"
)

// echo emits, for each record, its key and how often that has come.
type echo struct {
	n   *table.Value[int]
	cur *operator.KeyCursor[int]
	rt  *operator.Runtime
	out *operator.Collector[int]
}

const echoKeys = 50

func echoed(key, n int) int { return key*1_000_000 + n }

func (e *echo) ReceiveKeyed(hash uint64, v int) {
	e.rt.Operator = 0
	if !e.cur.Set(hash, v%echoKeys) {
		return
	}
	n, _ := e.n.Get()
	e.n.Set(n + 1)
	e.out.Emit(echoed(v%echoKeys, n+1))
}

// joinRig is a, a again and b → echo by key → sinks: a keyed self-union.
type joinRig struct {
	*rig
	a, b  *feed
	log   *events
	echo  int // plan operators
	sinks int
	put   map[int]int // records by key
}

func newJoinRig(t *testing.T) *joinRig {
	u := &joinRig{rig: newRig(t), a: &feed{}, b: &feed{}, log: &events{}, put: map[int]int{}}
	u.memory = 1 << 10 // the least
	a, b := u.source("a", 2, u.a), u.source("b", 1, u.b)
	info := operator.KeyInfoOf(intKey)
	u.echo = u.add("echo", transformKind, 2, func(l *Linker) error {
		s := l.Setup(info)
		e := &echo{n: s.Value[int]("n"), rt: l.Runtime(), cur: operator.NewKeyCursor(s, intKey, false), out: Out[int](l)}
		InKeyed(l, operator.KeyedReceiver[int](e))
		return nil
	})
	s := operator.PlanSetup("echo", info)
	_ = s.Value[int]("n")
	u.declare(u.echo, s)
	for _, from := range []int{a, a, b} {
		u.from(u.echo, from, hash, keyedEdge(t, func(v int) int { return v % echoKeys }))
	}
	u.sinks = u.sink("sink", u.echo, rebalance, 2, intEdge(t), u.log)
	return u
}

// fill gives every source many records, more than all channels hold.
func (u *joinRig) fill(random *rand.Rand) {
	for _, to := range []struct {
		f       *feed
		subtask int
		times   int // that a record reaches echo
	}{{u.a, 0, 2}, {u.a, 1, 2}, {u.b, 0, 1}} {
		if to.f.over {
			continue
		}
		vs := make([]int, 4000+random.IntN(1000))
		for i := range vs {
			vs[i] = random.IntN(10 * echoKeys)
			u.put[vs[i]%echoKeys] += to.times
		}
		to.f.put(to.subtask, vs...)
	}
}

// rescale sets the parallelism of echo and the sinks for the next deployment.
func (u *joinRig) rescale(echo, sinks int) {
	u.plan.Operators[u.echo].Parallelism, u.plan.Operators[u.sinks].Parallelism = uint32(echo), uint32(sinks)
	u.graph = must[*job.Graph](u.t)(job.NewGraph(u.plan, 1))
}

// vertex is a vertex's subtasks.
func (u *joinRig) vertex(uid string) (all []job.SubtaskID) {
	for _, s := range u.graph.Subtasks() {
		if u.graph.VertexUID(s.Vertex) == uid {
			all = append(all, s)
		}
	}
	return all
}

// divided is what the subtasks of the graph as it is now restore from the acks of id.
func (r *rig) divided(id stream.CheckpointID, g *job.Graph, want int) map[job.SubtaskID][]*weirpb.RestoredOperator {
	r.t.Helper()
	acks := r.reports.acked(id)
	if len(acks) != want {
		r.t.Fatalf("%v is acked by %d of %d subtasks", id, len(acks), want)
	}
	slices.SortFunc(acks, func(a, b *weirpb.CheckpointAck) int { return int(a.Subtask.Subtask) - int(b.Subtask.Subtask) })
	m := &metapb.CheckpointMetadata{CheckpointId: uint64(id)}
	by := map[string]*metapb.OperatorSnapshot{}
	for _, a := range acks {
		for _, o := range a.Operators {
			if by[o.Uid] == nil {
				by[o.Uid] = &metapb.OperatorSnapshot{Uid: o.Uid}
				m.Operators = append(m.Operators, by[o.Uid])
			}
			by[o.Uid].Subtasks = append(by[o.Uid].Subtasks, o.Subtasks[0])
		}
	}
	all := map[job.SubtaskID][]*weirpb.RestoredOperator{}
	for _, s := range must[[]restore.Subtask](r.t)(restore.Plan(m, g, restore.Options{})) {
		for _, o := range s.Operators {
			p := &weirpb.RestoredOperator{Uid: o.UID, OperatorStates: o.States, Results: o.Results, Ended: o.Ended == restore.EndedAll}
			for _, k := range o.Keyed {
				p.Keyed = append(p.Keyed, &weirpb.RestoredKeyed{FirstGroup: uint32(k.Range.First), LastGroup: uint32(k.Range.Last), Runs: k.Runs, Schemas: k.Schemas})
			}
			for _, c := range o.Channels {
				p.Channels = append(p.Channels, &weirpb.RestoredChannel{
					Input: uint32(c.Input), State: c.State, FirstGroup: uint32(c.Groups.First), LastGroup: uint32(c.Groups.Last),
				})
			}
			all[s.ID] = append(all[s.ID], p)
		}
	}
	return all
}

// inFlight is how many records the acks of id hold, by operator, and how many lie in
// files.
func (r *rig) inFlight(id stream.CheckpointID) (records map[string]int, files int) {
	records = map[string]int{}
	for _, a := range r.reports.acked(id) {
		for _, o := range a.Operators {
			for _, c := range o.Subtasks[0].ChannelStates {
				records[o.Uid] += int(c.Records)
				if c.File != "" {
					files++
				}
			}
		}
	}
	return records, files
}

// finish brings the job to its end and checks that every record came exactly once.
func (u *joinRig) finish(id stream.CheckpointID) {
	u.t.Helper()
	u.a.end()
	u.b.end()
	synctest.Wait()
	u.inject(id, stream.TerminalBarrier)
	var got, want []int
	for _, a := range u.reports.acked(id) {
		got = append(got, listOf(u.t, a, "sink")...)
	}
	for key, n := range u.put {
		for i := range n {
			want = append(want, echoed(key, i+1))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		u.t.Errorf("%d results, want %d; they differ", len(got), len(want))
	}
	u.completed(id, true)
	u.running.Wait()
}

// TestUnaligned: with sinks that take nothing, checkpoints complete everywhere else;
// the sinks' part follows as soon as they are there. Every checkpoint holds every
// record once, whatever the parallelism it is restored at, and also if what it holds
// was in flight in the one before.
func TestUnaligned(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 7))
				u := newJoinRig(t)
				u.inline = random.IntN(2) << 30 // all in files, or none
				u.rescale(2, 2)
				var from map[job.SubtaskID][]*weirpb.RestoredOperator
				id := stream.CheckpointID(0)
				for range 3 {
					u.deploy(id, from, u.vertex("sink")...)
					u.fill(random)
					synctest.Wait()
					id++
					b := stream.Barrier{ID: id, Kind: stream.CheckpointBarrier, Unaligned: true}
					if random.IntN(2) == 0 {
						b.Unaligned, b.AlignmentTimeout = false, time.Second
					}
					u.injectBarrier(b)
					sinks := u.vertex("sink")
					others := len(u.graph.Subtasks()) - len(sinks)
					if n := len(u.reports.acked(id)); b.AlignmentTimeout > 0 && n == others {
						t.Errorf("%d subtasks have acked before the alignment timeout: there is no back pressure", n)
					}
					time.Sleep(b.AlignmentTimeout)
					synctest.Wait()
					if n := len(u.reports.acked(id)); n != others {
						t.Fatalf("%d of %d subtasks have acked under back pressure", n, others)
					}
					for _, s := range sinks {
						u.start(s, id-1, from[s])
					}
					synctest.Wait()
					records, files := u.inFlight(id)
					if records["echo"] == 0 || records["sink"] == 0 || (files > 0) != (u.inline == 0) {
						t.Errorf("in flight to %v, in %d files: the test takes no path", records, files)
					}
					want := len(u.graph.Subtasks())
					u.stop()
					u.rescale(1+random.IntN(4), 1+random.IntN(3))
					from = u.divided(id, u.graph, want)
				}
				u.deploy(id, from)
				u.finish(id + 1)
			})
		})
	}
}

// TestUnalignedRunning: barriers that overtake while everything flows, from sources of
// which one ends early.
func TestUnalignedRunning(t *testing.T) {
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 8))
			u := newJoinRig(t)
			u.rescale(3, 2)
			u.deploy(0, nil)
			id := stream.CheckpointID(0)
			for round := range 5 {
				u.fill(random)
				if round == 2 {
					u.b.end()
				}
				id++
				u.injectBarrier(stream.Barrier{ID: id, Kind: stream.CheckpointBarrier, Unaligned: random.IntN(3) > 0, AlignmentTimeout: time.Millisecond})
				if random.IntN(3) == 0 { // given up, here and there before it has come
					for _, task := range u.tasks {
						task.Post(Command{Kind: Abort, ID: id})
					}
					synctest.Wait()
					continue
				}
				want := len(u.graph.Subtasks())
				u.divided(id, u.graph, want)
				u.fill(random)
				synctest.Wait()
				u.stop()
				u.rescale(1+random.IntN(4), 2)
				from := u.divided(id, u.graph, want)
				u.deploy(id, from)
			}
			u.finish(id + 1)
		})
	}
}

// TestAtLeastOnce: nothing waits for a barrier, and nothing is lost.
func TestAtLeastOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, a, b := newRig(t), &feed{}, &feed{}
		r.mode = align.AtLeastOnce
		src, other := r.source("a", 0, a), r.source("b", 0, b)
		k := r.sink("sink", src, rebalance, 0, intEdge(t), &events{})
		r.from(k, other, rebalance, intEdge(t))
		r.deploy(0, nil)
		barrier := Command{Kind: Inject, Barrier: stream.Barrier{ID: 1, Kind: stream.CheckpointBarrier}}
		a.put(0, 1)
		synctest.Wait()
		r.task("a", 0).Post(barrier)
		synctest.Wait()
		a.put(0, 2) // from behind the barrier
		synctest.Wait()
		r.task("b", 0).Post(barrier)
		synctest.Wait()
		equal(t, "snapshot", listOf(t, r.ackOf("sink", 1), "sink"), 1, 2)
		from := r.restoredFrom(1)
		r.stop()
		r.deploy(1, from)
		a.end()
		b.end()
		synctest.Wait()
		r.inject(2, stream.TerminalBarrier)
		equal(t, "at the end", listOf(t, r.ackOf("sink", 2), "sink"), 1, 2, 2)
		r.completed(2, true)
		r.running.Wait()
	})
}
