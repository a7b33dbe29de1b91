package requests

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var errPanic = errors.New("panic")

// ask makes the request of a record, and repeats it as often as it may be.
func (r *Requests[T, B]) ask(it *item[T, B]) {
	ctx, o := r.ctx, &r.o
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("the request took longer than %v", o.Timeout))
		defer cancel()
	}
	attempt, pause := 1, o.Backoff
	for {
		it.err = r.once(ctx, it)
		if it.err == nil || ctx.Err() != nil || attempt >= o.Attempts {
			break
		}
		if !sleep(ctx, pause) {
			break
		}
		attempt++
		pause = min(2*pause, max(o.MaxBackoff, o.Backoff))
	}
	if it.err != nil {
		it.results = it.results[:0]
		if cause := context.Cause(ctx); cause != nil && !errors.Is(it.err, cause) {
			it.err = fmt.Errorf("%w: %w", cause, it.err)
		}
		if attempt > 1 {
			it.err = fmt.Errorf("after %d attempts: %w", attempt, it.err)
		}
	}
	if r.ctx.Err() == nil { // else the attempt is over, and with it the queue
		r.arrive(it)
	}
}

// once makes the request once.
func (r *Requests[T, B]) once(ctx context.Context, it *item[T, B]) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	if r.o.One != nil {
		b, err := r.o.One(ctx, it.v)
		it.results = append(it.results[:0], b)
		return err
	}
	all, err := r.o.Many(ctx, it.v)
	it.results = append(it.results[:0], all...)
	return err
}

// sleep reports whether it was not woken before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
