package coordinator

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// harness plays a transcript against a coordinator of the job
// source (1) ─hash─▶ count (2), with "new two" and a region of its own: other (1).
type harness struct {
	t       *testing.T
	c       *Coordinator
	graph   *job.Graph
	now     time.Time
	config  Config
	epoch   uint64
	attempt uint32
}

func testGraph(t *testing.T, two bool) *job.Graph {
	plan := &metapb.Plan{Operators: []*metapb.Operator{
		{Uid: "source", Kind: metapb.OperatorKind_OPERATOR_KIND_SOURCE, Parallelism: 1},
		{Uid: "count", Kind: metapb.OperatorKind_OPERATOR_KIND_TRANSFORM, Inputs: []*metapb.Input{{Distribution: metapb.Distribution_DISTRIBUTION_HASH}}},
	}}
	if two {
		plan.Operators = append(plan.Operators, &metapb.Operator{Uid: "other", Kind: metapb.OperatorKind_OPERATOR_KIND_SOURCE, Parallelism: 1})
	}
	g, err := job.NewGraph(plan, 2)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestTranscripts runs testdata/transcripts: one command a step, effects below.
//
//	new [two] [interval=10s] [timeout=1m] [pause=0s] [tolerable=0] [retained=1] [batch=2] [concurrent=1] [delete] [ask=out]
//	takeover [reserved=4] [completed=3:e1.n1:a/b,4:…] [terminal] [damaged=4] [pins=t1] [source=no-claim|shared]
//	deploy attempt=1 [restored=3] · adopt attempt=1 · run [sub=0] · lost · restore [unusable=3]
//	at 12s · ack ckpt=1 [sub=0] [runs=a,b] [still=c] [attempt=1] · decline ckpt=1 sub=1
//	ended · committed ckpt=1 [sub=0] · job-ended state=FINISHED · stop
//	wanted [t=t1] [kind=checkpoint|full|savepoint|stop] [drain] · unpinned ckpt=1 [t=t1] [keep]
//	pin ckpt=1 [t=job:x]
//	(region=other or region=source limits the subtasks to those of one region)
//	ids|metadata|pointer|pointers|objects|listed outcome=ok|failed|unknown|fenced [ckpt=1] [names=a,b] · read ckpt=1 found|missing|unknown
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		h := &harness{t: t, now: time.Unix(0, 0), epoch: 1}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "new" {
				h.new(d)
				return ""
			}
			var b strings.Builder
			for _, e := range h.events(d) {
				for _, effect := range h.c.Step(h.now, e, nil) {
					fmt.Fprintln(&b, describe(effect))
				}
			}
			if h.c.Phase() != PhaseRunning {
				fmt.Fprintf(&b, "(%v)\n", h.c.Phase())
			}
			return b.String()
		})
	})
}

func text(d *datadriven.TestData, key, otherwise string) string {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			return strings.Join(a.Vals, ",")
		}
	}
	return otherwise
}

func (h *harness) number(d *datadriven.TestData, key string, otherwise int) int {
	if d.HasArg(key) {
		d.ScanArgs(h.t, key, &otherwise)
	}
	return otherwise
}

func (h *harness) duration(d *datadriven.TestData, key, otherwise string) time.Duration {
	v, err := time.ParseDuration(text(d, key, otherwise))
	if err != nil {
		d.Fatalf(h.t, "%v", err)
	}
	return v
}

func (h *harness) new(d *datadriven.TestData) {
	h.now = time.Unix(0, 0)
	h.graph = testGraph(h.t, d.HasArg("two"))
	h.epoch = uint64(h.number(d, "epoch", 1))
	h.config = Config{
		Interval: h.duration(d, "interval", "10s"), Timeout: h.duration(d, "timeout", "1m"), MinPause: h.duration(d, "pause", "0s"),
		TolerableFailures: h.number(d, "tolerable", 0), Retained: h.number(d, "retained", 1), IDBatch: h.number(d, "batch", 2),
		Concurrent: h.number(d, "concurrent", 0),
	}
	if d.HasArg("delete") {
		h.config.Retention = DeleteOnCancellation
	}
	if d.HasArg("ask") {
		h.config.Fallback, h.config.TwoPhase = FallbackAsk, []string{text(d, "ask", "")}
	}
	h.c = New(h.config, Identity{Epoch: h.epoch, JobName: "test"})
}

// executions of the whole job, or of the one subtask that sub= names by its place.
func (h *harness) executions(d *datadriven.TestData) []Execution {
	if d.HasArg("attempt") && (d.Cmd == "deploy" || d.Cmd == "adopt") {
		h.attempt = uint32(h.number(d, "attempt", 0))
	}
	a := job.Attempt{Epoch: uint64(h.number(d, "epoch", int(h.epoch))), N: uint32(h.number(d, "attempt", int(h.attempt)))}
	var all []Execution
	for i, s := range h.graph.Subtasks() {
		if only := h.number(d, "sub", -1); only >= 0 && only != i {
			continue
		}
		if region := text(d, "region", ""); region == "" || region == "other" == (s.Vertex == 2) {
			all = append(all, Execution{Subtask: s, Attempt: a, Incarnation: job.Incarnation(a.N)})
		}
	}
	return all
}

func runs(names, attempt string, first uint64) []*metapb.Run {
	var all []*metapb.Run
	for name := range strings.SplitSeq(names, ",") {
		if name == "" {
			continue
		}
		run := &metapb.Run{Id: "run-" + name, Files: []*metapb.RunFile{{Name: name}}, LastGroup: stream.KeyGroups - 1, Attempt: attempt, FirstAck: first, Bytes: 10}
		if strings.HasPrefix(name, "foreign") {
			run.BasePath = "/other"
		}
		all = append(all, run)
	}
	return all
}

func (h *harness) events(d *datadriven.TestData) []Event {
	id := stream.CheckpointID(h.number(d, "ckpt", 0))
	switch d.Cmd {
	case "at":
		v, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			d.Fatalf(h.t, "%v", err)
		}
		h.now = time.Unix(0, int64(v))
		return []Event{Tick{}}
	case "takeover":
		return []Event{h.takeOver(d)}
	case "deploy":
		return []Event{Deployed{Graph: h.graph, Executions: h.executions(d), NextStateID: 1, Restored: stream.CheckpointID(h.number(d, "restored", 0))}}
	case "adopt":
		return []Event{Adopted{Graph: h.graph, Executions: h.executions(d), NextStateID: 1}}
	case "lost":
		return []Event{AttemptsLost{h.executions(d), "worker gone"}}
	case "restore":
		e := RestoreWanted{}
		if bad := h.number(d, "unusable", 0); bad > 0 {
			e.Unusable = append(e.Unusable, Damage{stream.CheckpointID(bad), "shared/x: digest differs"})
		}
		return []Event{e}
	case "wanted":
		kinds := map[string]stream.BarrierKind{
			"checkpoint": stream.CheckpointBarrier, "full": stream.FullBarrier, "savepoint": stream.SavepointBarrier, "stop": stream.StopBarrier,
		}
		return []Event{CheckpointWanted{TriggerID: text(d, "t", "t1"), Kind: kinds[text(d, "kind", "savepoint")], Drain: d.HasArg("drain")}}
	case "unpinned":
		return []Event{Unpinned{ID: id, TriggerID: text(d, "t", "t1"), Keep: d.HasArg("keep")}}
	case "pin":
		return []Event{PinWanted{id, text(d, "t", "job:x")}}
	case "job-ended":
		return []Event{JobEnded{text(d, "state", "FINISHED")}}
	case "stop":
		return []Event{Stop{}}
	case "run", "ack", "decline", "ended", "committed":
		return h.fromSubtasks(d, id)
	}
	return []Event{h.result(d, id)}
}

func (h *harness) takeOver(d *datadriven.TestData) TookOver {
	e := TookOver{Reserved: stream.CheckpointID(h.number(d, "reserved", 0))}
	e.Source = map[string]SourceState{"no-claim": SourceNoClaim, "shared": SourceShared}[text(d, "source", "")]
	for c := range strings.SplitSeq(text(d, "completed", ""), ",") {
		if c == "" {
			continue
		}
		var id uint64
		f := strings.Split(c, ":")
		fmt.Sscan(f[0], &id)
		done := Completed{Pointer: &metapb.CheckpointPointer{CheckpointId: id, Terminal: d.HasArg("terminal")}}
		if pin := text(d, "pins", ""); pin != "" {
			done.Pointer.Pins = []string{pin}
		}
		if h.number(d, "damaged", 0) == int(id) {
			done.Problem = "bit flipped"
		} else {
			done.Metadata = &metapb.CheckpointMetadata{CheckpointId: id, Operators: []*metapb.OperatorSnapshot{{Uid: "source", Subtasks: []*metapb.SubtaskSnapshot{
				{Runs: runs(strings.ReplaceAll(f[2], "/", ","), f[1], id)},
			}}}}
		}
		e.Completed = append(e.Completed, done)
	}
	return e
}

func (h *harness) fromSubtasks(d *datadriven.TestData, id stream.CheckpointID) []Event {
	var all []Event
	for _, x := range h.executions(d) {
		switch d.Cmd {
		case "run":
			all = append(all, SubtaskRunning{x})
		case "decline":
			all = append(all, Declined{id, x, "disk full"})
		case "committed":
			all = append(all, Committed{id, x})
		case "ended":
			if x.Subtask.Vertex != 1 {
				all = append(all, SourceEnded{x})
			}
		case "ack":
			uid := text(d, "uid", h.graph.VertexUID(x.Subtask.Vertex))
			a := Acked{ID: id, Execution: x, NewBytes: 10, Operators: []*metapb.OperatorSnapshot{{Uid: uid, Subtasks: []*metapb.SubtaskSnapshot{{
				Index: uint32(x.Subtask.Index), Runs: runs(text(d, "runs", ""), x.Attempt.String(), uint64(id)),
				Results: []*metapb.Result{{Name: "n", Value: &metapb.Result_Sum{Sum: 5}}},
			}}}}}
			if still := text(d, "still", ""); still != "" {
				a.StillReads = strings.Split(still, ",")
			}
			all = append(all, a)
		}
	}
	return all
}

func (h *harness) result(d *datadriven.TestData, id stream.CheckpointID) Event {
	outcome := map[string]Outcome{"ok": OK, "failed": Failed, "unknown": Unknown, "fenced": Fenced}[text(d, "outcome", "ok")]
	var names []string
	if s := text(d, "names", ""); s != "" {
		names = strings.Split(s, ",")
	}
	switch d.Cmd {
	case "ids":
		return IDsReserved{UpTo: stream.CheckpointID(h.number(d, "upto", 0)), Outcome: outcome}
	case "metadata":
		return MetadataWritten{ID: id, Outcome: outcome, Size: 100, Digest: []byte{1}, Problem: "store is full"}
	case "pointer":
		return PointerCommitted{ID: id, Outcome: outcome, Problem: "condition failed"}
	case "read":
		if d.HasArg("unknown") {
			return PointerRead{ID: id, Outcome: Unknown}
		}
		return PointerRead{ID: id, Outcome: OK, Found: d.HasArg("found")}
	case "pointers":
		return PointersDeleted{[]stream.CheckpointID{id}, outcome}
	case "objects":
		return ObjectsDeleted{names, outcome}
	case "listed":
		return ObjectsListed{names, outcome}
	}
	d.Fatalf(h.t, "unknown command")
	return nil
}

// describe is an effect in a transcript.
func describe(effect Effect) string {
	subtasks := func(all []Execution) string {
		var s []string
		for _, x := range all {
			s = append(s, x.Subtask.String()+"@"+x.Attempt.String())
		}
		return strings.Join(s, " ")
	}
	switch e := effect.(type) {
	case ReserveIDs:
		return fmt.Sprintf("reserve ids up to %d after %v", e.UpTo, e.After)
	case Trigger:
		return fmt.Sprintf("trigger %d %v at %s", e.Barrier.ID, e.Barrier.Kind, subtasks(e.Roots))
	case Abort:
		return fmt.Sprintf("abort %d..%d at %s: %s", e.First, e.Last, subtasks(e.To), e.Reason)
	case WriteMetadata:
		return fmt.Sprintf("write %s (%d operators)", e.Object, len(e.Metadata.Operators))
	case CommitPointer:
		s := fmt.Sprintf("commit pointer %d terminal=%v state=%d", e.ID, e.Pointer.Terminal, e.Pointer.StateBytes)
		if len(e.Pointer.Pins) > 0 {
			s += fmt.Sprintf(" pins=%v", e.Pointer.Pins)
		}
		return s
	case CheckpointTaken:
		return fmt.Sprintf("taken for %s: %d", e.TriggerID, e.Pointer.CheckpointId)
	case Refused:
		return fmt.Sprintf("refused %s: %s", e.TriggerID, e.Reason)
	case Pinned:
		return fmt.Sprintf("pinned %d for %s: %v", e.Pointer.CheckpointId, e.Pin, e.Pointer.Pins)
	case PinRefused:
		return fmt.Sprintf("no pin of %d for %s", e.ID, e.Pin)
	case DrainSources:
		return "drain " + subtasks(e.To)
	case ReadPointer:
		return fmt.Sprintf("read pointer %d after %v", e.ID, e.After)
	case NotifyCompleted:
		s := fmt.Sprintf("notify %d terminal=%v", e.ID, e.Terminal)
		for _, to := range e.To {
			s += fmt.Sprintf(" %v%v", to.Subtask, to.KeepRuns)
		}
		return s
	case DeletePointers:
		return fmt.Sprintf("delete pointers %v after %v", e.IDs, e.After)
	case DeleteObjects:
		return fmt.Sprintf("delete objects %v", e.Names)
	case RestoreFrom:
		return fmt.Sprintf("restore from %d, %d skipped, problem %q", e.Pointer.GetCheckpointId(), len(e.Skipped), e.Problem)
	case SetTimer:
		if e.At.IsZero() {
			return "timer off"
		}
		return fmt.Sprintf("timer at %v", time.Duration(e.At.UnixNano()))
	case Finished:
		s := fmt.Sprintf("finished, problem %q", e.Problem)
		for _, r := range e.Results {
			s += fmt.Sprintf(" %s=%d", r.Name, r.GetSum())
		}
		return s
	case Record:
		return "record: " + e.Info.String()
	}
	return fmt.Sprintf("%T%+v", effect, effect)
}

// TestTables holds the transitions of both state machines; a change of either shows
// here.
func TestTables(t *testing.T) {
	got := "# Phase\n" + phaseTable() + "# State\n" + stateTable()
	const name = "testdata/tables.txt"
	want, err := os.ReadFile(name)
	if err != nil || string(want) != got {
		t.Errorf("the transitions are no longer those of %s (%v):\n%s", name, err, got)
	}
}

func TestInlineLimit(t *testing.T) {
	for subtasks, want := range map[int]uint32{1: 20 << 10, 409: 20 << 10, 410: 8 << 20 / 410, 10000: 838} {
		if got := InlineLimit(20<<10, false, subtasks); got != want {
			t.Errorf("%d subtasks: %d bytes, want %d", subtasks, got, want)
		}
	}
	if got := InlineLimit(100, false, 4); got != 100 {
		t.Errorf("a threshold of 100 bytes: %d", got)
	}
	if got := InlineLimit(5<<20, true, 10); got != 5<<20 {
		t.Errorf("all inline: %d", got)
	}
	if got := InlineLimit(5<<20, true, 100); got != 192<<20/100 {
		t.Errorf("all inline, of 100 subtasks: %d", got)
	}
}
