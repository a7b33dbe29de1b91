package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/internal/jobbinary"
)

// A word that is no shell, and a number that is none, are mistakes like others.
func TestUnknownShellAndNumber(t *testing.T) {
	for args, want := range map[string]string{
		"completion zzz":    `error: unknown command "zzz"`,
		"completion fsh":    "did you mean weir completion fish?",
		"demo --seconds x":  "error: --seconds x is not a whole number",
		"demo --seconds 1h": "error: --seconds 1h is not a whole number",
	} {
		if c := weirCommand(t, nil, nil, strings.Fields(args)...); c.exit != exitUsage || !strings.Contains(c.stderr, want) || c.stdout != "" {
			t.Errorf("weir %s: %v", args, c)
		}
	}
	if c := weirCommand(t, nil, nil, "completion", "bash"); c.exit != exitOK || !strings.Contains(c.stdout, "complete") {
		t.Errorf("completion bash: %v", c)
	}
}

// A checkpoint that is deleted with the cancelled job is not said to be kept, though
// it may still be there.
func TestCancelDeletes(t *testing.T) {
	m := newModel()
	m.jobs[0].Settings["execution.checkpointing.externalized-checkpoint-retention"] = "DELETE_ON_CANCELLATION"
	if c := weirCommand(t, m, nil, "cancel", "orders"); c.exit != exitOK || strings.Contains(c.stderr, "kept") {
		t.Errorf("cancel: %v", c)
	}
}

// Whoever stops the command while the program declares its job leaves no folder and
// no program behind.
func TestStoppedBeforeThePlan(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var talk strings.Builder
	c := &cli{stdout: &strings.Builder{}, stderr: &talk, environ: os.Environ()}
	_, err = jobbinary.Program{Name: "job", Local: self}.Plan(ctx, nil, os.Environ(), c.stdout, c.say)
	if exit := c.report(c.stopped(ctx, err)); exit != exitDetached || talk.String() != "stopped; nothing was submitted\n" {
		t.Errorf("exit code %d, %q", exit, talk.String())
	}
	if left, err := filepath.Glob(filepath.Join(temp, "weir-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}
