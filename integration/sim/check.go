package sim

import (
	"maps"
	"slices"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// checkSnapshot looks at a checkpoint at the moment it completes: everybody's part
// is of this checkpoint and of the attempts that run (I10), and what count has
// counted is exactly what the sources had read (I8).
func (w *world) checkSnapshot(id stream.CheckpointID, m *metapb.CheckpointMetadata) {
	read, counted := 0, 0
	for _, op := range m.Operators {
		for i, s := range op.Subtasks {
			var who *witness
			for _, state := range s.OperatorStates {
				for _, e := range state.Entries {
					switch v := w.store.blobs[string(e)].(type) {
					case witness:
						who = &v
					case int:
						read += v
					}
				}
			}
			switch {
			case who == nil:
				w.fail("I10", "checkpoint %d has no ack of %s[%d]", id, op.Uid, i)
			case who.id != id || who.execution.Incarnation != w.store.incarnation || who.execution.Subtask.Index != i:
				w.fail("I10", "checkpoint %d of incarnation %d has for %s[%d] the ack of %v for %d", id, w.store.incarnation, op.Uid, i, who.execution, who.id)
			}
			counted += w.countedIn(s)
			if op.Uid == "count" {
				for _, c := range s.ChannelStates {
					counted += len(w.store.rowsOf(c))
				}
			}
		}
	}
	if read != counted {
		w.fail("I8", "in checkpoint %d the sources have read %d records, %d are counted or on their way", id, read, counted)
	}
}

// countedIn sums the counts that a run list stands for.
func (w *world) countedIn(s *metapb.SubtaskSnapshot) int {
	counts := map[int]int{}
	for _, run := range s.Runs {
		clip := stream.KeyGroupRange{First: stream.KeyGroup(run.FirstGroup), Last: stream.KeyGroup(run.LastGroup)}
		for _, f := range run.Files {
			content, _ := w.store.objects[f.Name].(map[int]int)
			for key, n := range content {
				if clip.Contains(groupOf(key)) {
					counts[key] = n
				}
			}
		}
	}
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum
}

// checkOutput is the oracle: each record once, and for each key the counts 1 … n.
func (w *world) checkOutput() {
	seen := map[[2]int]int{}
	counts := map[int]map[int]bool{}
	total := 0
	for _, name := range slices.Sorted(maps.Keys(w.output)) {
		for _, r := range w.output[name] {
			total++
			seen[[2]int{r.source, r.seq}]++
			if r.key != keyOf(r.source, r.seq) {
				w.fail("oracle", "record %v in %s has another key", r, name)
			}
			if counts[r.key] == nil {
				counts[r.key] = map[int]bool{}
			}
			if counts[r.key][r.count] {
				w.fail("oracle", "key %d has the count %d twice, the second time in %s", r.key, r.count, name)
			}
			counts[r.key][r.count] = true
		}
	}
	for source := range sources {
		for seq := range w.records {
			want := 1
			if seq >= w.ends[source] { // behind the stop
				want = 0
			}
			if n := seen[[2]int{source, seq}]; n != want {
				w.fail("oracle", "record %d of source %d is in the output %d times, not %d; it ended at %d", seq, source, n, want, w.ends[source])
			}
		}
	}
	for key, c := range counts {
		for n := 1; n <= len(c); n++ {
			if !c[n] {
				w.fail("oracle", "key %d lacks the count %d of %d", key, n, len(c))
			}
		}
	}
	if total != w.total() {
		w.fail("oracle", "%d rows, not %d", total, w.total())
	}
	for _, trigger := range slices.Sorted(maps.Keys(w.store.operations)) {
		if o := w.store.operations[trigger]; o.State == metapb.Operation_STATE_IN_PROGRESS {
			w.fail("I11", "%v %s was promised and has not ended", o.Kind, trigger)
		}
	}
}

// total is how many records there are up to the end.
func (w *world) total() (n int) {
	for _, at := range w.ends {
		n += at
	}
	return n
}

// checkResults compares the job's result with the truth.
func (w *world) checkResults(results []*metapb.Result, problem string) {
	if problem != "" || len(results) != 1 || results[0].GetSum() != uint64(w.total()) {
		w.fail("oracle", "result %v (%s), not records=%d", results, problem, w.total())
	}
}

// checkLeftOver is I13 for a job that ended and whose checkpoints are kept. Faults
// leave objects behind that no living leader ever heard of.
func (w *world) checkLeftOver() {
	left := w.store.leftOver()
	if w.calm && len(left) > 0 {
		w.fail("I13", "left over: %v", left)
	}
	for _, name := range left {
		if isMetadata(name) && w.calm {
			w.fail("I13", "left over: %s", name)
		}
	}
	if len(w.store.pointers) > w.retained {
		w.fail("I13", "%d pointers are left, %d are to be retained", len(w.store.pointers), w.retained)
	}
}
