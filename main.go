package weir

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
)

// How a job binary is told what to be. Nothing of it reaches user code.
const (
	// EnvPlan has the binary write its plan, as protobuf, to the file of this name (or
	// to an inherited descriptor: "fd:3") and exit. A binary that exits with 0 and has
	// written nothing is no Weir job, or was asked for its flags.
	EnvPlan = "WEIR_PLAN"
	// EnvWorker makes the binary a worker: its value is where its agent listens.
	EnvWorker = weirpb.EnvWorker
	// PlanFlag as the first argument has the plan printed as JSON.
	PlanFlag = "--plan"
)

// Exit codes, as those of the weir command.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitJob    = 7 // the job ended FAILED or CANCELED
)

// Main runs the program that build declares, and exits. It must be the last thing
// that main does. Options: Named, Parallelism, Checkpoint, Set; they are defaults,
// which -D and -p of `weir run` override.
//
// Where the binary is started by hand, the job runs in this process until it has
// finished; Ctrl-C cancels it. Otherwise the environment says what is wanted: the plan, or a
// worker.
func Main(build func(*Env) error, opts ...Option) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, build, opts, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, build func(*Env) error, opts []Option, args []string,
	getenv func(string) string, stdout, stderr io.Writer,
) int {
	asJSON := len(args) > 0 && args[0] == PlanFlag
	if asJSON {
		args = args[1:]
	}
	if agent := getenv(EnvWorker); agent != "" {
		return exitCode(runWorker(ctx, agent, build, opts, args), stdout, stderr)
	}
	plan, newProgram, err := programOf(build, opts, args, getenv)
	if err != nil {
		return exitCode(err, stdout, stderr)
	}
	if to := getenv(EnvPlan); to != "" {
		return exitCode(writePlan(plan, to), stdout, stderr)
	}
	for _, w := range Warnings(plan) {
		fmt.Fprintln(stderr, "warning:", w)
	}
	if asJSON {
		fmt.Fprintln(stdout, protojson.Format(plan))
		return exitOK
	}
	line, err := runLocal(ctx, plan, newProgram, getenv(EnvLog), stderr)
	if err == nil && line != "" {
		fmt.Fprintln(stdout, line)
	}
	return exitCode(err, stdout, stderr)
}

// errJob marks the end of a job that did not finish.
var errJob = errors.New("job did not finish")

// exitCode says what went wrong, and how the process ends.
func exitCode(err error, stdout, stderr io.Writer) int {
	var help *helpError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &help):
		fmt.Fprint(stdout, help.text)
		return exitOK
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	}
	fmt.Fprintln(stderr, "error:", strings.TrimPrefix(err.Error(), ErrUsage.Error()+": "))
	switch {
	case errors.Is(err, ErrUsage):
		return exitUsage
	case errors.Is(err, errJob):
		return exitJob
	}
	return exitFailed
}

// writePlan writes plan in its canonical bytes, those that are hashed.
func writePlan(plan *metapb.Plan, to string) error {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(plan)
	if err != nil {
		return fmt.Errorf("encode plan of %q: %w", plan.Name, err)
	}
	if fd, ok := strings.CutPrefix(to, "fd:"); ok {
		n, err := strconv.ParseUint(fd, 10, 16)
		if err != nil {
			return fmt.Errorf("%s=%q names no descriptor: %w", EnvPlan, to, err)
		}
		f := os.NewFile(uintptr(n), to)
		if f == nil {
			return fmt.Errorf("%s=%q: descriptor is not open", EnvPlan, to)
		}
		_, err = f.Write(b)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("write plan of %d bytes to descriptor %d: %w", len(b), n, err)
		}
		return nil
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		return fmt.Errorf("write plan of %d bytes: %w", len(b), err)
	}
	return nil
}
