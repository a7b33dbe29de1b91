package coordinator

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirstream/weir/stream"
)

// Orphans are objects that no ack ever told of: what an attempt had written when it was
// killed, what was acked to a leader that died before the checkpoint completed, a
// _metadata without a pointer. They are found by listing the checkpoint folder once
// the attempts that may have left them are dead and have had time to end, and when the
// job has ended.
//
// An orphan is not in the registry, and its name is that of a dead attempt, or of a
// checkpoint that is neither complete nor under way. What a dead attempt wrote can't be
// listed by anybody for the first time: present attempts list what they restored, which
// is in the registry, and what they wrote themselves.

// sweepState of the search.
//
//	idle ──all subtasks run──▶ waiting ──time──▶ listing ──▶ idle
//	  └───── the job has ended ────────────────▶ listing ──▶ idle
type sweepState uint8

const (
	sweepIdle sweepState = iota
	sweepWaiting
	sweepListing
)

// planSweep has the folder listed a while after a deployment.
func (c *Coordinator) planSweep(now time.Time) {
	if c.sweep == sweepListing {
		return
	}
	c.sweep, c.sweepAt = sweepWaiting, now.Add(c.config.OrphansAfter)
}

// sweepDue lists the folder if it is time.
func (c *Coordinator) sweepDue(now time.Time, effects []Effect) []Effect {
	if c.sweep != sweepWaiting || now.Before(c.sweepAt) {
		return effects
	}
	c.sweep = sweepListing
	return append(effects, ListObjects{})
}

// objectsListed deletes the orphans among the names. A listing that failed is made
// again after the next deployment, or at the end.
func (c *Coordinator) objectsListed(e ObjectsListed, effects []Effect) []Effect {
	c.sweep = sweepIdle
	if c.phase == PhaseCleaning {
		c.swept = true
	}
	if e.Outcome != OK || slices.ContainsFunc(c.completed, func(d Completed) bool { return d.Metadata == nil }) {
		return effects // what a damaged checkpoint lists is not known, and somebody may mend it
	}
	var orphans []string
	for _, name := range e.Names {
		if c.orphan(name) {
			orphans = append(orphans, name)
		}
	}
	if len(orphans) == 0 {
		return effects
	}
	slices.Sort(orphans)
	for _, name := range orphans {
		c.registry.extra(name)
	}
	return append(effects, Record{OrphansInfo{len(orphans)}}, DeleteObjects{orphans})
}

// writtenBy finds the attempt in the name of an object below shared/.
var writtenBy = regexp.MustCompile(`(?:^|[-/.])(e[0-9]+\.n[0-9]+)(?:[-/.]|$)`)

func (c *Coordinator) orphan(name string) bool {
	if c.registry.objects[name] != nil {
		return false
	}
	folder, rest, _ := strings.Cut(name, "/")
	if folder == "shared" {
		m := writtenBy.FindStringSubmatch(rest)
		return m != nil && c.dead(m[1])
	}
	number, isCheckpoint := strings.CutPrefix(folder, "chk-")
	n, err := strconv.ParseUint(number, 10, 64)
	id := stream.CheckpointID(n)
	ours := rest == "_metadata" || strings.HasPrefix(rest, "inflight-") // records in flight, of this checkpoint alone
	return isCheckpoint && err == nil && ours && id < c.next &&
		!c.isCompleted(id) && c.find(id) == nil && !c.writing[id] && !slices.Contains(c.subsumed, id)
}
