package main

import "context"

// runDemo runs the demo until it is over or ctx is done.
func (c *cli) runDemo(context.Context, demoConfig) error {
	return failure(exitFailed, "NOT_BUILT", "the demo is not built yet")
}
