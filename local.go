package weir

import (
	"context"
	"errors"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/taskmanager/task"
)

// errNotLinked is the answer of the two ways of running that live in packages above
// the tasks.
var errNotLinked = errors.New("this way of running a job is not part of this build")

// runLocal runs the job in this process to its end and returns its closing line, ""
// if the plan has none. It is where internal/minicluster comes in: newProgram makes
// the program of one subtask attempt, job.ClosingLine fills the line in.
func runLocal(_ context.Context, plan *metapb.Plan, _ func() (*task.Program, error)) (line string, err error) {
	return "", errors.Join(errors.New("run job \""+plan.Name+"\" locally"), errNotLinked)
}

// runWorker serves the agent that listens at agent until the job has ended. It is
// where taskmanager/worker comes in. The plan must equal the one that the agent has;
// programOf gives it, with the arguments and the environment that the agent started
// this process with.
func runWorker(_ context.Context, agent string, _ func(*Env) error, _ []Option, _ []string) error {
	return errors.Join(errors.New("serve agent "+agent), errNotLinked)
}
