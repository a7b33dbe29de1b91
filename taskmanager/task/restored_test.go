package task

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/objstore/errstore"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/inflight"
)

// counting is a store that counts what is read.
type counting struct {
	objstore.Store
	read atomic.Int64
}

type countingReader struct {
	objstore.Reader
	s *counting
}

func (s *counting) Open(ctx context.Context, name string) (objstore.Reader, error) {
	r, err := s.Store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &countingReader{r, s}, nil
}

func (r *countingReader) ReadAt(b []byte, at int64) (int, error) {
	n, err := r.Reader.ReadAt(b, at)
	r.s.read.Add(int64(n))
	return n, err
}

// floods is a snapshot of echo at parallelism 2 with n records in flight, and what its
// subtasks at parallelism now restore of it. The records are counted into put.
func floods(u *joinRig, n, now int) map[job.SubtaskID][]*weirpb.RestoredOperator {
	u.t.Helper()
	e := keyedEdge(u.t, func(v int) int { return v % echoKeys })
	const old = 2
	values := make([][]int, old)
	for v := range n {
		at := stream.SubtaskOf(stream.GroupOf(e.Hash(v)), old)
		values[at] = append(values[at], v)
		u.put[v%echoKeys]++
	}
	all := map[job.SubtaskID][]*weirpb.RestoredOperator{}
	for i, vs := range values {
		w := must[*inflight.Writer](u.t)(inflight.Create(u.t.Context(), u.store, fmt.Sprintf("old/inflight-%d", i)))
		state := &metapb.ChannelState{FromUid: "a", Distribution: hash}
		if _, err := w.Part(state, func() error {
			for len(vs) > 0 {
				k := min(len(vs), stream.MaxBatch)
				var payload []byte
				for _, v := range vs[:k] {
					payload = binary.LittleEndian.AppendUint64(payload, e.Hash(v))
				}
				if err := w.Write(inflight.Append(nil, inflight.FlagHashes, k, e.Codec.AppendBatch(payload, vs[:k]))); err != nil {
					return err
				}
				vs = vs[k:]
			}
			return nil
		}); err != nil {
			u.t.Fatal(err)
		}
		if err := w.Commit(u.t.Context()); err != nil {
			u.t.Fatal(err)
		}
		groups := stream.RangeOf(i, old)
		for j, sub := range u.vertex("echo") {
			if _, shared := stream.RangeOf(j, now).Intersect(groups); shared {
				if all[sub] == nil {
					all[sub] = []*weirpb.RestoredOperator{{Uid: "echo"}}
				}
				all[sub][0].Channels = append(all[sub][0].Channels, &weirpb.RestoredChannel{
					State: state, FirstGroup: uint32(groups.First), LastGroup: uint32(groups.Last),
				})
			}
		}
	}
	return all
}

func (r *rig) ackOfSubtask(id stream.CheckpointID, s job.SubtaskID) *weirpb.CheckpointAck {
	for _, a := range r.reports.acked(id) {
		if int(a.Subtask.Vertex) == int(s.Vertex) && int(a.Subtask.Subtask) == s.Index {
			return a
		}
	}
	return nil
}

// TestWhatIsStillRead: somebody else's objects go by their absolute names.
func TestWhatIsStillRead(t *testing.T) {
	mine, theirs := t.TempDir(), t.TempDir()
	task := &Task{o: Options{Store: must[objstore.Store](t)(objstore.Parse(mine))}}
	for base, want := range map[string]string{
		"": "chk-1/f", mine: "chk-1/f", "file://" + mine: "chk-1/f", theirs + "/": theirs + "/chk-1/f", "file://" + theirs: "file://" + theirs + "/chk-1/f",
	} {
		s := must[inflight.Source](t)(task.sourceOf(&weirpb.RestoredChannel{State: &metapb.ChannelState{File: "chk-1/f"}, BasePath: base}))
		if s.Name != want || (s.Store == task.o.Store) != (want == "chk-1/f") {
			t.Errorf("%q: %q", base, s.Name)
		}
	}
}

// TestRestoredIsNotReadWhole: much more was in flight than channels may hold. It is read
// as it is taken; a checkpoint that is taken meanwhile keeps the rest, of each subtask its
// own, and no record is lost or doubled.
func TestRestoredIsNotReadWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newJoinRig(t)
		store := &counting{Store: u.store}
		u.store = store
		const n = 600_000 // 10 MB, in blocks of 256 KiB
		u.rescale(3, 2)
		from := floods(u, n, 3)
		sinks := u.vertex("sink")
		u.deploy(1, from, sinks...)
		if read := store.read.Load(); read == 0 || read > 5<<20 {
			t.Errorf("%d bytes were read ahead of who takes them", read)
		}
		u.injectBarrier(stream.Barrier{ID: 2, Kind: stream.CheckpointBarrier, Unaligned: true})
		want := len(u.graph.Subtasks())
		if n := len(u.reports.acked(2)); n != want-len(sinks) {
			t.Fatalf("%d of %d subtasks have acked under back pressure", n, want-len(sinks))
		}
		if records, files := u.inFlight(2); records["echo"] < n/2 || records["echo"] > n || files == 0 {
			t.Errorf("%v records are in flight in %d files, want most of %d", records, files, n)
		}
		for i, s := range u.vertex("echo") { // or the files would go with the checkpoint restored from
			want := len(from[s][0].Channels)
			a := u.ackOfSubtask(2, s)
			if still := a.GetStillReads(); a == nil || len(still) == 0 || len(still) > want || still[len(still)-1] != fmt.Sprintf("old/inflight-%d", min(i, 1)) {
				t.Errorf("%v still reads %v, of %d files", s, still, want)
			}
		}
		for _, s := range sinks {
			u.start(s, 1, from[s])
		}
		synctest.Wait()
		u.inject(3, stream.CheckpointBarrier)
		for _, s := range u.vertex("echo") {
			if a := u.ackOfSubtask(3, s); a == nil || len(a.StillReads) > 0 {
				t.Errorf("when all is taken %v acks %v", s, a.GetStillReads())
			}
		}
		u.stop()
		u.rescale(2, 2)
		u.deploy(2, u.divided(2, u.graph, want))
		u.finish(4)
	})
}

// TestRestoredIsDamaged: what was in flight turns out to be other bytes than the checkpoint
// says. The attempt fails, and names the checkpoint; none that follows from it completes.
func TestRestoredIsDamaged(t *testing.T) {
	for _, whole := range []bool{false, true} {
		t.Run(fmt.Sprintf("whole pieces %t", whole), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := newJoinRig(t)
				u.rescale(2, 2)
				from := floods(u, 600_000, 2)
				sub := u.vertex("echo")[0]
				if whole { // valid pieces, but not those: only the digest of all of them tells
					from[sub][0].Channels[0].State.Digest[0] ^= 1
				} else {
					s := errstore.New(u.store)
					s.Add(errstore.Fault{Op: errstore.Read, Kind: errstore.Flip})
					u.store = s
				}
				u.deploy(1, from, u.vertex("sink")...)
				u.injectBarrier(stream.Barrier{ID: 2, Kind: stream.CheckpointBarrier, Unaligned: true})
				for _, a := range u.reports.acked(2) {
					if u.graph.VertexUID(job.VertexID(a.Subtask.Vertex)) == "echo" && a.Subtask.Subtask == uint32(sub.Index) {
						t.Error("a checkpoint was acked that follows from unverified bytes")
					}
				}
				var f *Failure
				u.mu.Lock()
				err := u.results[sub]
				u.mu.Unlock()
				if !errors.As(err, &f) || !f.Damaged || f.Fatal {
					t.Errorf("the attempt ended with %+v", err)
				}
				u.stop()
			})
		})
	}
}
