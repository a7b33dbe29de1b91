package main

import "context"

// runJobManager serves until ctx is done.
func runJobManager(context.Context, jobManagerConfig) error {
	return failure(exitFailed, "NOT_BUILT", "the JobManager is not wired yet")
}
