package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/proto/metapb"
)

// Every verb that starts an operation: what it asks for, and what it prints.
func TestOperations(t *testing.T) {
	done := func(r api.OperationResult) []*api.Operation {
		return []*api.Operation{
			api.InProgress(api.OperationProgress{Phase: api.PhaseCheckpoint, Subtasks: 4, Acked: 1}),
			api.InProgress(api.OperationProgress{Phase: api.PhaseCopy, Bytes: 5 << 20, CopiedBytes: 1 << 20}),
			api.Completed(r),
		}
	}
	savepoint := api.OperationResult{Location: "/backup/savepoint-0123ab-4f", CheckpointID: 9}
	failed := []*api.Operation{api.FailedOperation(api.NewError(api.ErrConflict, "JOB_NOT_RUNNING", `job "orders" is RESTARTING`, "weir wait orders --for=running"))}
	var all strings.Builder
	for _, c := range []struct {
		args   string
		steps  []*api.Operation
		effect func(*api.Job)
	}{
		{"savepoint orders /backup", done(savepoint), nil},
		{"savepoint orders --type native -o json", done(savepoint), nil},
		{"savepoint orders -detached", nil, nil},
		{"savepoint orders --detached -o json", nil, nil},
		{"savepoint orders --trigger-id " + triggerID, done(savepoint), nil},
		{"savepoint orders file:///backup", failed, nil},
		{"savepoint -d /backup/savepoint-0123ab-4f", done(api.OperationResult{}), nil},
		{"stop orders", done(savepoint), state(api.StateFinished)},
		{"stop --savepointPath /backup orders -o json", done(savepoint), state(api.StateFinished)},
		{"stop orders -p", done(savepoint), state(api.StateFinished)},
		{"stop -p orders", done(savepoint), state(api.StateFinished)},
		{"stop orders --type canonical --drain", done(savepoint), state(api.StateFinished)},
		{"stop orders", failed, nil},
		{"stop orders --timeout 30ms", []*api.Operation{api.InProgress(api.OperationProgress{})}, nil},
		{"cancel orders -s", done(savepoint), state(api.StateCanceled)},
		{"cancel -s /backup orders -o json", done(savepoint), state(api.StateCanceled)},
		{"cancel orders -s /backup", failed, nil},
		{"checkpoint orders --full", done(api.OperationResult{Location: "/data/chk-9", CheckpointID: 9}), nil},
		{"checkpoint orders -o json", done(api.OperationResult{Location: "/data/chk-9", CheckpointID: 9}), nil},
		{"rescale orders -p 3", done(api.OperationResult{}), func(j *api.Job) { j.Parallelism = 3 }},
		{"rescale orders count=4 a=b=2 -o json", done(api.OperationResult{}), nil},
	} {
		m := newModel()
		m.steps, m.effect = c.steps, c.effect
		r := weirCommand(t, m, nil, strings.Fields(c.args)...)
		fmt.Fprintf(&all, "$ weir %s\n%s", c.args, duration.ReplaceAllString(r.String(), "after DURATION"))
		for _, a := range m.asked {
			all.WriteString("-- asked --\n" + a + "\n")
		}
		all.WriteString("\n")
	}
	golden(t, "operations.txt", all.String())
}

// Ctrl-C leaves an operation to itself, and says how to come back to it.
func TestDetachFromOperation(t *testing.T) {
	m := newModel()
	m.steps = []*api.Operation{api.InProgress(api.OperationProgress{Phase: api.PhaseCopy})}
	m.looked = func() {
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			t.Error(err)
		}
	}
	c := weirCommand(t, m, nil, "savepoint", "orders")
	if want := "detached; the savepoint goes on. Watch it:  weir savepoint " + runningID + " --trigger-id " + triggerID; c.exit != exitDetached || c.stdout != "" || !strings.Contains(c.stderr, want) {
		t.Errorf("%v", c)
	}
}

// weir run -s: what the cluster is told to start from.
func TestRunRestores(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]api.Restore{
		"-s /sp": {Path: "/sp"},
		"--fromSavepoint file:///sp/_metadata -n": {Path: "file:///sp/_metadata", AllowNonRestored: true},
		"-s /sp -restoreMode CLAIM":               {Path: "/sp", Mode: api.RestoreClaim},
		"-s /sp -claimMode no_claim":              {Path: "/sp", Mode: api.RestoreNoClaim},
		"-s /sp --restore-mode=legacy":            {Path: "/sp", Mode: api.RestoreLegacy},
		"-s /sp --map-uid old=numbers":            {Path: "/sp", MapUIDs: map[string]string{"old": "numbers"}},
		"-s /sp --restore-mode NO-CLAIM -n=false": {Path: "/sp", Mode: api.RestoreNoClaim},
		"": {},
	} {
		m := newModel()
		m.script["fresh"] = []func(*api.Job){state(api.StateFinished)}
		c := weirCommand(t, m, []string{envProgram + "=job"}, append(append([]string{"run"}, strings.Fields(args)...), exe)...)
		if c.exit != 0 || m.submitted == nil || fmt.Sprint(m.submitted.Restore) != fmt.Sprint(want) {
			t.Errorf("weir run %s: submitted %+v\n%v", args, m.submitted, c)
		}
		if strings.Contains(c.stderr, "/sp stays yours, and you must keep it") != (want.Mode == api.RestoreLegacy) {
			t.Errorf("weir run %s: %s", args, c.stderr)
		}
	}
	for args, want := range map[string]string{
		"-s /sp --map-uid old=number":                    "did you mean --map-uid old=numbers?",
		"-s /sp --map-uid a=numbers --map-uid b=numbers": `gives operator "numbers" the state of both "a" and "b"`,
	} {
		m := newModel()
		c := weirCommand(t, m, []string{envProgram + "=job"}, append(append([]string{"run"}, strings.Fields(args)...), exe)...)
		if c.exit != exitUsage || m.submitted != nil || !strings.Contains(c.stderr, want) {
			t.Errorf("weir run %s: %v", args, c)
		}
	}
}

// Any list is written an element at a time.
func TestLists(t *testing.T) {
	for form, want := range map[string]string{"jsonl": "{\"a\":1}\n{\"a\":2}\n", "yaml": "a: 1\n---\na: 2\n"} {
		var out strings.Builder
		c := &cli{stdout: &out, output: form}
		if done, err := c.structured([]map[string]int{{"a": 1}, {"a": 2}}, nil); !done || err != nil || out.String() != want {
			t.Errorf("%s: %v, %q", form, err, out.String())
		}
	}
}

// Operators are those that the user has declared.
func TestHiddenOperators(t *testing.T) {
	plan := &metapb.Plan{Operators: []*metapb.Operator{{Uid: "lines#splits", Hidden: true}, {Uid: "lines"}, {Uid: "count"}}}
	if got := uids(plan); !slices.Equal(got, []string{"lines", "count"}) {
		t.Errorf("%q", got)
	}
	if err := checkMapped(plan, api.Restore{MapUIDs: map[string]string{"old": "lines#splits"}}); err == nil {
		t.Error("a hidden operator was accepted")
	}
}

// With a terminal, a bar comes after a while and goes away again.
func TestBar(t *testing.T) {
	var out strings.Builder
	c := &cli{stderr: &out, terminal: true}
	b := c.newBar("sending")
	b.bytes(1, 10)
	if b.bars != nil {
		t.Error("a bar is drawn at once")
	}
	b.began = b.began.Add(-barDelay)
	b.bytes(5, 10)
	b.set("checkpoint", 1, 4, false)
	b.bytes(10, 10)
	b.finish()
	if !strings.Contains(out.String(), "sending") {
		t.Errorf("drawn: %q", out.String())
	}
	for _, c := range []*cli{{stderr: &out}, {stderr: &out, terminal: true, environ: []string{"NO_COLOR=1"}}} {
		b := c.newBar("x")
		b.bytes(1, 2)
		b.finish()
		if b != nil {
			t.Error("a bar without a terminal, or in spite of NO_COLOR")
		}
	}
}
