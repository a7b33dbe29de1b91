package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/weirstream/weir/client/api"
)

// Operation is one that was started: see api.Operation. It goes on whoever watches.
type Operation struct {
	ID     string // the trigger id
	status string // path that tells how it goes, without the id
}

// SavepointOperation is a savepoint or stop that was started before.
func SavepointOperation(job, trigger string) Operation {
	return Operation{trigger, jobPath(job, "/savepoints/")}
}

// CheckpointOperation is a checkpoint on demand that was started before.
func CheckpointOperation(job, trigger string) Operation {
	return Operation{trigger, jobPath(job, "/checkpoints/")}
}

// RescaleOperation is a rescale that was started before.
func RescaleOperation(job, trigger string) Operation {
	return Operation{trigger, jobPath(job, "/rescaling/")}
}

// DisposalOperation is a disposal that was started before.
func DisposalOperation(trigger string) Operation {
	return Operation{trigger, "/savepoint-disposal/"}
}

// Savepoint has a savepoint of a running job taken.
func (c *Client) Savepoint(ctx context.Context, job string, r api.SavepointRequest) (Operation, error) {
	r.TriggerID = cmp.Or(r.TriggerID, NewID())
	return c.start(ctx, "POST", jobPath(job, "/savepoints"), SavepointOperation(job, r.TriggerID), r)
}

// Stop has a savepoint taken after which the job is FINISHED.
func (c *Client) Stop(ctx context.Context, job string, r api.StopRequest) (Operation, error) {
	r.TriggerID = cmp.Or(r.TriggerID, NewID())
	return c.start(ctx, "POST", jobPath(job, "/stop"), SavepointOperation(job, r.TriggerID), r)
}

// Checkpoint has a checkpoint of a running job taken now.
func (c *Client) Checkpoint(ctx context.Context, job string, r api.CheckpointRequest) (Operation, error) {
	r.TriggerID = cmp.Or(r.TriggerID, NewID())
	return c.start(ctx, "POST", jobPath(job, "/checkpoints"), CheckpointOperation(job, r.TriggerID), r)
}

// Rescale gives a running job another parallelism.
func (c *Client) Rescale(ctx context.Context, job string, r api.RescaleRequest) (Operation, error) {
	r.TriggerID = cmp.Or(r.TriggerID, NewID())
	return c.start(ctx, "PATCH", jobPath(job, "/rescaling"), RescaleOperation(job, r.TriggerID), r)
}

// Dispose has a savepoint deleted.
func (c *Client) Dispose(ctx context.Context, r api.DisposalRequest) (Operation, error) {
	r.TriggerID = cmp.Or(r.TriggerID, NewID())
	return c.start(ctx, "POST", "/savepoint-disposal", DisposalOperation(r.TriggerID), r)
}

func jobPath(job, rest string) string { return "/jobs/" + url.PathEscape(job) + rest }

// start sends a request that starts an operation. It carries its id, so that sending it
// again starts nothing anew.
func (c *Client) start(ctx context.Context, method, path string, o Operation, request any) (Operation, error) {
	text, err := json.Marshal(request)
	if err != nil {
		return Operation{}, fmt.Errorf("encode %s %s: %w", method, path, err)
	}
	var answer api.Triggered
	b := &body{contentType: "application/json", small: true, open: func() io.ReadCloser { return io.NopCloser(bytes.NewReader(text)) }}
	if err := c.do(ctx, method, path, b, &answer); err != nil {
		return Operation{}, err
	}
	if answer.RequestID == "" {
		return Operation{}, notWeir(c.bases[0], fmt.Sprintf("its answer to %s %s has no request-id", method, path))
	}
	o.ID = answer.RequestID
	return o, nil
}

// Look tells how an operation goes.
func (c *Client) Look(ctx context.Context, o Operation) (*api.Operation, error) {
	now := new(api.Operation)
	if err := c.get(ctx, o.status+url.PathEscape(o.ID), now); err != nil {
		return nil, err
	}
	return now, nil
}

// Times between two looks at an operation.
const (
	lookFirst = 20 * time.Millisecond
	lookMost  = 500 * time.Millisecond
)

// Watch looks at an operation until it has ended, and returns its result. see, if it is
// not nil, is told how far it is. While there is no leader it waits: the next one goes
// on with the operation. That ctx ends does nothing to the operation.
func (c *Client) Watch(ctx context.Context, o Operation, see func(api.OperationProgress)) (*api.OperationResult, error) {
	pause, said := lookFirst, ""
	for {
		now, err := c.Look(ctx, o)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, api.ErrUnavailable):
			if line := err.Error(); line != said && c.opts.Notice != nil {
				said = line
				c.opts.Notice(line + "; waiting")
			}
		case err != nil:
			return nil, err
		default:
			said = ""
			if result, ended, err := now.Ended(); ended {
				return result, err
			}
			if see != nil {
				see(now.Progress)
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		pause = min(pause*3/2, lookMost)
	}
}

// CheckpointConfig says how a job is checkpointed.
func (c *Client) CheckpointConfig(ctx context.Context, job string) (cfg api.CheckpointConfig, err error) {
	err = c.get(ctx, jobPath(job, "/checkpoints/config"), &cfg)
	return cfg, err
}

// CheckpointDetails returns a checkpoint in Weir's form, with what each subtask did.
func (c *Client) CheckpointDetails(ctx context.Context, job string, id uint64) (*api.CheckpointDetails, error) {
	d := new(api.CheckpointDetails)
	if err := c.get(ctx, jobPath(job, "/checkpoints/details/")+strconv.FormatUint(id, 10)+"/describe", d); err != nil {
		return nil, err
	}
	return d, nil
}
