package weir

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/taskmanager/task"
)

// Program plans the job that build and the options of Main describe, with the
// arguments and environment of this process: what Main does first. newProgram
// builds the same program anew, with the same arguments and parameters; a worker
// calls it for each attempt of each subtask, so that nothing is shared between them.
//
// build is run twice here. One that declares something else the second time is
// refused, by the name of the first operator that differs.
func Program(build func(*Env) error, opts ...Option) (plan *metapb.Plan, newProgram func() (*task.Program, error), err error) {
	return programOf(build, opts, os.Args[1:], os.Getenv)
}

// ProgramFor is Program with other arguments and another environment: for tests.
func ProgramFor(args []string, getenv func(string) string, build func(*Env) error, opts ...Option,
) (plan *metapb.Plan, newProgram func() (*task.Program, error), err error) {
	return programOf(build, opts, args, getenv)
}

func programOf(build func(*Env) error, opts []Option, args []string, getenv func(string) string,
) (*metapb.Plan, func() (*task.Program, error), error) {
	first, err := assemble(build, opts, args, getenv)
	if err != nil {
		return nil, nil, err
	}
	recorded := map[string]string{}
	for _, p := range first.Plan.Params {
		recorded[p.Key] = p.Value
	}
	newProgram := func() (*task.Program, error) {
		return assemble(build, opts, args, func(name string) string { return recorded[name] })
	}
	second, err := newProgram()
	if err != nil {
		return nil, nil, fmt.Errorf("build failed when it was run again, though not the first time: %w", err)
	}
	if d := job.PlanDifference(first.Plan, second.Plan); d != "" {
		return nil, nil, fmt.Errorf("build is not pure: run twice, it built two different plans: %s; "+
			"use env.Args and env.Param, not time, random numbers, os.Getenv or the order of a map", d)
	}
	return first.Plan, newProgram, nil
}

// assemble runs build once.
func assemble(build func(*Env) error, opts []Option, args []string, getenv func(string) string) (p *task.Program, err error) {
	env := newEnv(args, getenv)
	o, err := collect(opts, "weir.Main", optNamed, optParallelism, optSetting, optReplaced)
	if err != nil {
		return nil, err
	}
	env.replaced = o.replaced
	if o.name != "" {
		env.SetName(o.name)
	}
	if o.parallelism > 0 {
		env.Default(keyParallelism, fmt.Sprint(o.parallelism))
	}
	for _, s := range o.settings {
		env.Default(s.key, s.value)
	}
	defer func() {
		if v := recover(); v != nil {
			p, err = nil, fmt.Errorf("build panicked: %v (%s)", v, panicFrame())
		}
	}()
	if err := build(env); err != nil {
		return nil, err
	}
	return env.finish()
}

// panicFrame is the innermost frame of a panic that is neither the Go runtime's nor
// ours: where the user has to look.
func panicFrame() string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		if f.Function != "" && !strings.HasPrefix(f.Function, "runtime.") && !ours(f.Function) {
			return fmt.Sprintf("%s, %s:%d", f.Function, f.File, f.Line)
		}
		if !more {
			return "in package weir"
		}
	}
}

// ours reports whether a function is of this package, and not of its tests.
func ours(function string) bool {
	name, ok := strings.CutPrefix(function, "github.com/weirstream/weir.")
	return ok && !strings.HasPrefix(name, "Test") && !strings.HasPrefix(name, "Example")
}

// Warnings says what is allowed in a plan but unwise, a line each.
func Warnings(plan *metapb.Plan) []string {
	var all []string
	for _, op := range plan.Operators {
		if op.AutoUid && len(op.States) > 0 {
			all = append(all, fmt.Sprintf("operator %q keeps state and has no uid of its own: "+
				"its state is lost if the program changes around it; give it a uid", op.Uid))
		}
	}
	return all
}
