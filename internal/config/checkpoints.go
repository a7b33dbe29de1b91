package config

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// Checkpoints is how a job is checkpointed: the values of coordinator.Config, which
// this package can't name.
type Checkpoints struct {
	Interval             time.Duration // 0 = none but the terminal one
	Timeout              time.Duration
	MinPause             time.Duration
	TolerableFailures    int
	Retained             int
	Concurrent           int
	Unaligned            bool // barriers may overtake records once they are older than AlignmentTimeout
	AlignmentTimeout     time.Duration
	InlineThreshold      int64  // bytes
	AllInline            bool   // storage jobmanager: InlineThreshold bounds an operator's state in a subtask
	Fallback             string // "auto", "ask" or "always"
	DeleteOnCancellation bool   // else they are kept
	Dir                  string // absolute path; "" = the cluster's default
	SavepointDir         string // absolute path; "" = none
}

func (e *Effective) checkpoints() Checkpoints {
	c := Checkpoints{
		Interval:             e.Get(CheckpointInterval),
		Timeout:              e.Get(CheckpointTimeout),
		MinPause:             e.Get(CheckpointMinPause),
		TolerableFailures:    e.Get(CheckpointTolerable),
		Retained:             e.Get(CheckpointRetained),
		Concurrent:           e.Get(CheckpointConcurrent),
		Unaligned:            e.Get(CheckpointUnaligned) == "true" && e.Get(CheckpointMode) == "EXACTLY_ONCE",
		AlignmentTimeout:     e.Get(CheckpointAlignmentTimeout),
		InlineThreshold:      e.Get(CheckpointInline),
		Fallback:             e.Get(CheckpointFallback),
		DeleteOnCancellation: e.Get(CheckpointRetention) == "DELETE_ON_CANCELLATION",
		Dir:                  e.Get(CheckpointDir),
		SavepointDir:         e.Get(SavepointDir),
	}
	if e.Get(CheckpointStorage) == "jobmanager" {
		c.AllInline, c.InlineThreshold = true, e.Get(MaxStateSize)
	}
	return c
}

// parseFolder reads a folder given as an absolute path or as file:///….
func parseFolder(s string) (string, error) {
	s, err := parseString(s)
	if err != nil || s == "" {
		return "", err
	}
	path := s
	if scheme, _, ok := strings.Cut(s, ":"); ok && !strings.ContainsAny(scheme, `/\`) {
		u, err := url.Parse(s)
		switch {
		case err != nil:
			return "", fmt.Errorf("is not a URL")
		case scheme != "file":
			return "", fmt.Errorf("storage %s:// is not built yet", scheme)
		case u.Host != "" && u.Host != "localhost":
			return "", fmt.Errorf("names the host %s: write three slashes, file:///%s%s", u.Host, u.Host, u.Path)
		}
		path = u.Path
	}
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("is not absolute: the processes of a cluster do not share a working folder")
	}
	return filepath.Clean(path), nil
}
