package operations

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/proto/metapb"
)

// harness plays a transcript against a Core, beside a model of what is on record.
type harness struct {
	t    *testing.T
	c    *Core
	keep int
	now  time.Time

	// On record.
	operations map[string]*metapb.Operation
	pointers   map[uint64]*metapb.CheckpointPointer
	result     string

	live  map[uint64]*metapb.CheckpointPointer // what the coordinator holds; shared with the Core
	begun map[string]*metapb.Operation         // of the last Record
	ends  map[string]End                       // of the last End
}

func newHarness(t *testing.T, keep int) *harness {
	h := &harness{
		t: t, keep: keep, now: time.Unix(100, 0), operations: map[string]*metapb.Operation{}, pointers: map[uint64]*metapb.CheckpointPointer{},
		begun: map[string]*metapb.Operation{}, ends: map[string]End{},
	}
	h.elect()
	return h
}

// elect makes the Core of a new leader from what is on record.
func (h *harness) elect() {
	var all []*metapb.Operation
	for _, id := range slices.Sorted(maps.Keys(h.operations)) {
		all = append(all, proto.CloneOf(h.operations[id]))
	}
	h.c = New("job j", h.keep, all)
	h.live = map[uint64]*metapb.CheckpointPointer{}
	for id, p := range h.pointers {
		h.live[id] = proto.CloneOf(p)
	}
}

func (h *harness) loaded() Loaded {
	e := Loaded{Result: h.result}
	for _, id := range slices.Sorted(maps.Keys(h.live)) {
		e.Pointers = append(e.Pointers, h.live[id])
	}
	return e
}

var kinds = func() map[string]metapb.Operation_Kind {
	m := map[string]metapb.Operation_Kind{"unknown": 99}
	for k, name := range names {
		m[strings.Fields(name)[0]] = k
	}
	return m
}()

// TestTranscripts runs testdata/transcripts: one command a step, effects below.
//
//	new [keep=2] · at 12s · leader · loaded · show
//	want t=t1 kind=checkpoint|savepoint|stop|cancel|rescale|disposal|unknown [request=1] [job=CANCELLING] [full] [drain]
//	recorded t=t1 [problem=x] · taken t=t1 [ckpt=3] [pins=t1/t2] · refused t=t1
//	copied t=t1 [problem=x] · ready [own] · no-slots · rescaled [own] · disposed t=t1 [code=X]
//	ending state=FINISHED · ended state=FINISHED · end-recorded t=t1 [problem=x]
//
// "leaders" runs the commands of its input, and after each shows what a new leader
// would do.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		var h *harness
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "new" {
				keep := 2
				if d.HasArg("keep") {
					d.ScanArgs(t, "keep", &keep)
				}
				h = newHarness(t, keep)
				return ""
			}
			if d.Cmd == "leaders" {
				return leaders(t, d)
			}
			return h.run(command{d.Cmd, argsOf(d)})
		})
	})
}

type command struct {
	name string
	args map[string]string
}

func argsOf(d *datadriven.TestData) map[string]string {
	args := map[string]string{}
	for _, a := range d.CmdArgs {
		args[a.Key] = strings.Join(a.Vals, ",")
	}
	return args
}

// leaders shows, for each step of an operation, what the next leader does if this one
// dies after it.
func leaders(t *testing.T, d *datadriven.TestData) string {
	var out strings.Builder
	lines := strings.Split(strings.TrimSpace(d.Input), "\n")
	for n, line := range lines {
		h := newHarness(t, 2)
		for _, l := range lines[:n+1] {
			f := strings.Fields(l)
			c := command{f[0], map[string]string{}}
			for _, a := range f[1:] {
				k, v, _ := strings.Cut(a, "=")
				c.args[k] = v
			}
			h.run(c)
		}
		h.elect()
		fmt.Fprintf(&out, "after %s:\n", line)
		for l := range strings.Lines(h.step(h.loaded())) {
			out.WriteString("  " + l)
		}
		for l := range strings.Lines(h.show()) {
			out.WriteString("  = " + l)
		}
	}
	return out.String()
}

func (h *harness) run(c command) string {
	problem := func() error {
		if p := c.args["problem"]; p != "" {
			return errors.New(p)
		}
		return nil
	}
	trigger := c.args["t"]
	switch c.name {
	case "at":
		for k := range c.args {
			d, err := time.ParseDuration(k)
			if err != nil {
				h.t.Fatal(err)
			}
			h.now = time.Unix(100, 0).Add(d)
		}
		return ""
	case "leader":
		h.elect()
		return ""
	case "loaded":
		return h.step(h.loaded())
	case "show":
		return h.show()
	case "want":
		return h.want(trigger, c)
	case "recorded":
		if c.args["problem"] == "" && h.begun[trigger] != nil {
			h.operations[trigger] = h.begun[trigger]
		}
		return h.step(Recorded{trigger, problem()})
	case "taken":
		return h.step(Taken{trigger, h.complete(c)})
	case "refused":
		return h.step(Refused{trigger, "disk full"})
	case "copied":
		return h.step(Copied{Trigger: trigger, Bytes: 500, Problem: c.args["problem"]})
	case "ready":
		return h.step(RescaleReady{has(c, "own")})
	case "no-slots":
		return h.step(RescaleFailed{"NO_SLOTS", "3 slots are needed"})
	case "rescaled":
		return h.step(Rescaled{has(c, "own")})
	case "disposed":
		e := Disposed{Trigger: trigger}
		if code := c.args["code"]; code != "" {
			e.Failure = &Failure{Code: code, Reason: "no", Kind: "not found", Hints: []string{"look"}}
		}
		return h.step(e)
	case "ending":
		return h.step(JobEnding{c.args["state"]})
	case "ended":
		h.result = c.args["state"]
		return h.step(JobEnded{c.args["state"]})
	case "end-recorded":
		h.recordEnd(trigger, c)
		return h.step(EndRecorded{trigger, problem()})
	}
	h.t.Fatalf("unknown command %s", c.name)
	return ""
}

func has(c command, key string) bool { _, ok := c.args[key]; return ok }

func (h *harness) want(trigger string, c command) string {
	e := Requested{Request: 1, JobState: c.args["job"], Operation: &metapb.Operation{
		TriggerId: trigger, Kind: kinds[c.args["kind"]], Target: "/sp/" + trigger, Full: has(c, "full"), Drain: has(c, "drain"),
	}}
	if r := c.args["request"]; r != "" {
		fmt.Sscan(r, &e.Request)
	}
	return h.step(e)
}

// complete makes the pointer of a checkpoint that has completed, pinned.
func (h *harness) complete(c command) *metapb.CheckpointPointer {
	p := &metapb.CheckpointPointer{CheckpointId: 3, StateBytes: 900}
	if id := c.args["ckpt"]; id != "" {
		fmt.Sscan(id, &p.CheckpointId)
	}
	if old := h.live[p.CheckpointId]; old != nil {
		return old
	}
	p.Path = fmt.Sprintf("/job/chk-%d", p.CheckpointId)
	if pins := c.args["pins"]; pins != "" {
		p.Pins = strings.Split(pins, "/")
	}
	h.pointers[p.CheckpointId], h.live[p.CheckpointId] = proto.CloneOf(p), p
	return p
}

func (h *harness) recordEnd(trigger string, c command) {
	e, ok := h.ends[trigger]
	if !ok || c.args["problem"] != "" {
		return
	}
	h.operations[trigger] = e.Operation
	if e.Pointer != nil {
		h.pointers[e.Pointer.CheckpointId] = e.Pointer
	}
	for _, id := range e.Forget {
		delete(h.operations, id)
	}
}

func (h *harness) step(e Event) string {
	var b strings.Builder
	for _, f := range h.c.Step(h.now, e, nil) {
		fmt.Fprintln(&b, h.describe(f))
		switch f := f.(type) {
		case Record:
			h.begun[f.Operation.TriggerId] = f.Operation
		case End:
			h.ends[f.Operation.TriggerId] = f
		case Unpin: // as the coordinator does
			if p := h.live[uint64(f.Unpinned.ID)]; p != nil {
				p.Pins = slices.DeleteFunc(slices.Clone(p.Pins), func(pin string) bool { return pin == f.Unpinned.TriggerID })
			}
		}
	}
	return b.String()
}

func (h *harness) describe(f Effect) string {
	switch f := f.(type) {
	case Answer:
		if f.Problem != nil {
			return fmt.Sprintf("answer %d: %v", f.Request, f.Problem)
		}
		return fmt.Sprintf("answer %d", f.Request)
	case Record:
		return fmt.Sprintf("record %s of %s", Name(f.Operation.Kind), f.Operation.TriggerId)
	case TakeCheckpoint:
		s := fmt.Sprintf("take %v for %s", f.Wanted.Kind, f.Wanted.TriggerID)
		if f.Wanted.Drain {
			s += " drained"
		}
		return s
	case Copy:
		return fmt.Sprintf("copy %s to %s for %s", f.From, f.To, f.Trigger)
	case Rescale:
		return "rescale for " + f.Operation.TriggerId
	case RescaleNow:
		return "rescale now"
	case Dispose:
		return fmt.Sprintf("dispose of %s for %s, again=%v", f.Path, f.Trigger, f.Again)
	case End:
		return h.describeEnd(f)
	case Unpin:
		return fmt.Sprintf("unpin %d of %s keep=%v", f.Unpinned.ID, f.Unpinned.TriggerID, f.Unpinned.Keep)
	case CancelJob:
		return "cancel the job, for " + f.Intent.TriggerId
	}
	return fmt.Sprintf("%T%+v", f, f)
}

func (h *harness) describeEnd(f End) string {
	o := f.Operation
	s := fmt.Sprintf("end %s %v", o.TriggerId, strings.TrimPrefix(o.State.String(), "STATE_"))
	if o.Code != "" {
		s += fmt.Sprintf(" %s (%s): %s", o.Code, o.FailureKind, o.Failure)
	}
	if o.Location != "" {
		s += fmt.Sprintf(" at %s of %d bytes", o.Location, o.Bytes)
	}
	if f.Pointer != nil {
		s += fmt.Sprintf(", checkpoint %d pinned by %q", f.Pointer.CheckpointId, f.Pointer.Pins)
	}
	if f.Intent != nil {
		s += ", cancel"
	}
	if f.Rescaled {
		s += ", parallelism"
	}
	if len(f.Forget) > 0 {
		s += fmt.Sprintf(", forget %q", f.Forget)
	}
	return s
}

func (h *harness) show() string {
	var b strings.Builder
	for _, o := range h.c.all() {
		v, _ := h.c.Look(o.rec.TriggerId)
		fmt.Fprintf(&b, "%s %s %v", o.rec.TriggerId, Name(o.rec.Kind), v.Phase)
		if v.Phase == Ended {
			fmt.Fprintf(&b, " %s", strings.TrimPrefix(v.Record.State.String(), "STATE_"))
		}
		b.WriteByte('\n')
	}
	if !h.c.Busy() {
		b.WriteString("(idle)\n")
	}
	return b.String()
}

// TestTable holds the transitions; a change shows here.
func TestTable(t *testing.T) {
	datadriven.RunTest(t, "testdata/table.txt", func(*testing.T, *datadriven.TestData) string { return phaseTable() })
}
