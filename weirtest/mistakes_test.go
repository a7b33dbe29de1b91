package weirtest

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/weirstream/weir"
)

// failing is a test that is to fail.
type failing struct {
	testing.TB
	text string
}

func (f *failing) Fatal(args ...any) {
	f.text = fmt.Sprint(args...)
	runtime.Goexit()
}

func (f *failing) Fatalf(format string, args ...any) { f.Fatal(fmt.Sprintf(format, args...)) }

// TestFails: a job that does not go as the test says fails it, with the reason.
func TestFails(t *testing.T) {
	copies := func(env *weir.Env) error {
		env.From("in", weir.Source[string](never{})).To("out", weir.Sink[string](nowhere{}))
		return nil
	}
	fails := func(env *weir.Env) error {
		env.From("in", weir.Source[string](never{})).
			FlatMap("fail", func(string, *weir.Collector[string]) error { return errors.New("no such word") }).
			To("out", weir.Sink[string](nowhere{}))
		return nil
	}
	in, out := Replace("in", "a"), Capture("out", new([]string))
	open := func(t testing.TB) Option { return ReplaceSource("in", NewFeed[string](t)) }
	once := Setting("restart-strategy.type", "none")
	for name, c := range map[string]struct {
		f    func(t testing.TB)
		want string
	}{
		"job fails":          {func(t testing.TB) { Run(t, fails, in, out, once).Wait() }, "no such word"},
		"job does not fail":  {func(t testing.TB) { Run(t, copies, in, out).WaitFailed() }, "the job is to end FAILED: FINISHED"},
		"end before wait":    {func(t testing.TB) { Run(t, copies, in, out).AwaitCheckpoint(1000) }, "wait for 1000 checkpoints: the job has ended: FINISHED"},
		"too few records":    {func(t testing.TB) { Run(t, copies, in, out).AwaitCaptured("out", 2) }, `wait for 2 records of sink "out": the job has ended`},
		"no such sink":       {func(t testing.TB) { Run(t, copies, open(t), out).AwaitCaptured("in", 1) }, `no sink "in" is captured`},
		"nothing to kill":    {func(t testing.TB) { Run(t, copies, open(t), out).KillTaskManager(1) }, "KillTaskManager(1): 1 TaskManagers run the job"},
		"kill of an ended":   {func(t testing.TB) { c := Run(t, copies, in, out); c.Wait(); c.KillTaskManager(0) }, "the job has ended: FINISHED"},
		"cancel of an ended": {func(t testing.TB) { c := Run(t, copies, in, out); c.Wait(); c.Cancel() }, "cancel the job"},
		"unknown uid":        {func(t testing.TB) { Run(t, copies, Replace("inn", "a")) }, `no source "inn" to replace`},
		"other records":      {func(t testing.TB) { Run(t, copies, Replace("in", 1)) }, `source "in" can't be replaced`},
		"replaced twice":     {func(t testing.TB) { Run(t, copies, in, in) }, `source "in" is replaced twice`},
		"captured twice":     {func(t testing.TB) { Run(t, copies, out, out) }, `sink "out" is captured twice`},
		"unknown setting":    {func(t testing.TB) { Run(t, copies, in, out, Setting("parallelism.defualt", "2")) }, "parallelism.default"},
		"no TaskManager":     {func(t testing.TB) { Run(t, copies, TaskManagers(0)) }, "at least one"},
		"feed after its end": {func(t testing.TB) { f := NewFeed[int](t); f.End(); f.Send(1) }, "ended"},
	} {
		t.Run(name, func(t *testing.T) {
			f, done := &failing{TB: t}, make(chan struct{})
			go func() {
				defer close(done)
				c.f(f)
			}()
			<-done
			if !strings.Contains(f.text, c.want) {
				t.Errorf("failed with %q, want it with %q", f.text, c.want)
			}
		})
	}
}

// TestUnknownLogLevel: a level of the log that is none is refused by its name.
func TestUnknownLogLevel(t *testing.T) {
	t.Setenv(weir.EnvLog, "inof")
	f, done := &failing{TB: t}, make(chan struct{})
	go func() {
		defer close(done)
		newTestLog(t).logger(f)
	}()
	<-done
	if !strings.Contains(f.text, "WEIR_LOG=inof is no level of a log; did you mean WEIR_LOG=info?") {
		t.Errorf("failed with %q", f.text)
	}
}
