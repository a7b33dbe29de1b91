package history

import (
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/execgraph"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/stream"
)

// Ended is what the records say of a job that ended under an earlier leader: its
// subtasks are those of its last incarnation, where they ran is not known any more.
func Ended(s *ha.JobState, now time.Time) *api.Job {
	j := OfRecord(s, now)
	var h History
	h.Load(s)
	h.Fill(j, s.Pointers)
	for i := range j.Checkpoints.History { // what was deleted with the job's end, after the last record of it
		c := &j.Checkpoints.History[i]
		if c.Status == api.CheckpointCompleted && !slices.ContainsFunc(s.Pointers, func(p *metapb.CheckpointPointer) bool { return p.CheckpointId == c.ID }) {
			c.Discarded, c.Path = true, ""
		}
	}
	if last := j.LastCheckpoint; last != nil && len(s.Pointers) == 0 {
		last.Discarded, last.Path = true, ""
	}
	if s.Record.Plan == nil || s.Incarnation == nil { // a plan too large for the records, or a job never deployed
		return j
	}
	g, err := job.NewGraphOf(s.Record.Plan, s.Incarnation.Vertices)
	if err != nil { // never: it was deployed from them
		return j
	}
	for _, v := range g.Vertices {
		if v.Hidden {
			continue
		}
		out := api.Vertex{ID: int(v.ID), UID: g.VertexUID(v.ID), Name: g.VertexName(v.ID), Parallelism: v.Parallelism, State: j.State}
		for i := range v.Parallelism {
			x := api.Subtask{Index: i, State: j.State}
			if j.EndedAt != nil {
				x.Since = *j.EndedAt
			}
			out.Subtasks = append(out.Subtasks, x)
		}
		j.Vertices = append(j.Vertices, out)
	}
	return j
}

// OfRecord is what the records alone say, without their history of checkpoints: that of
// the job's leader is newer.
func OfRecord(s *ha.JobState, now time.Time) *api.Job {
	r := s.Record
	j := &api.Job{
		ID: r.JobId, Name: r.Name, State: api.StateCreated, SubmittedAt: time.UnixMilli(r.SubmittedAtMs).UTC(),
		Vertices: []api.Vertex{}, Failures: []api.Failure{}, Settings: map[string]string{},
	}
	j.Checkpoints.History = []api.Checkpoint{}
	if r.RestoreFrom != "" {
		j.StartedFrom = &api.StartedFrom{
			Path: r.RestoreFrom, Mode: strings.TrimPrefix(r.RestoreMode.String(), "RESTORE_MODE_"), Released: r.SourceReleased,
		}
	}
	for _, kv := range r.Config {
		j.Settings[kv.Key] = kv.Value
	}
	if inc := s.Incarnation; inc != nil {
		for _, v := range inc.Vertices {
			j.Parallelism = max(j.Parallelism, int(v.Parallelism))
		}
		started := time.UnixMilli(inc.StartedAtMs).UTC()
		j.StartedAt, j.Incarnation, j.Restarts = &started, inc.Number, int(inc.Restarts)
		j.DurationMS = now.Sub(started).Milliseconds()
		if inc.Restored != nil {
			c := pointerOf(inc.Restored)
			j.Checkpoints.RestoredFrom = &c
		}
	}
	if n := len(s.Pointers); n > 0 {
		c := pointerOf(s.Pointers[n-1])
		j.LastCheckpoint = &c
	}
	if res := s.Result; res != nil {
		ended := time.UnixMilli(res.EndedAtMs).UTC()
		j.EndedAt, j.State, j.DurationMS, j.Restarts = &ended, res.State, res.DurationMs, int(res.Restarts)
		j.Result = resultOf(res)
		if res.Failure != "" {
			f := api.Failure{Time: ended, Cause: res.Failure, Fatal: res.State == api.StateFailed}
			j.LastFailure = &f
			j.Failures = append(j.Failures, f)
		}
	}
	return j
}

// Vertices are those of a job that a leader runs, without hidden ones, with the newest
// counters of each subtask.
func Vertices(g *execgraph.Graph, counters map[job.SubtaskID]*weirpb.Counters) []api.Vertex {
	all := []api.Vertex{}
	for _, v := range g.Job().Vertices {
		if v.Hidden {
			continue
		}
		out := api.Vertex{ID: int(v.ID), UID: g.Job().VertexUID(v.ID), Name: g.Job().VertexName(v.ID), Parallelism: v.Parallelism}
		for i := range v.Parallelism {
			x, _ := g.Execution(job.SubtaskID{Vertex: v.ID, Index: i})
			s := api.Subtask{
				Index: i, State: x.State.String(), Since: x.Since, TaskManagerID: x.TaskManager,
				Host: x.Host, WorkerPID: int(x.PID), TaskManagerPID: int(x.HostPID),
			}
			if x.Attempt != (job.Attempt{}) {
				s.Attempt = x.Attempt.String()
				s.Metrics = metricsOf(counters[job.SubtaskID{Vertex: v.ID, Index: i}], x.Attempt)
			}
			out.Subtasks = append(out.Subtasks, s)
		}
		out.State = api.StateOf(out.Subtasks)
		all = append(all, out)
	}
	return all
}

// metricsOf is what the attempt has reported, or nil.
func metricsOf(c *weirpb.Counters, a job.Attempt) *api.Metrics {
	if c == nil || (job.Attempt{Epoch: c.Attempt.GetEpoch(), N: c.Attempt.GetN()}) != a {
		return nil
	}
	m := &api.Metrics{
		ReadRecords: c.RecordsIn, WriteRecords: c.RecordsOut,
		BusyMS: c.BusyMs, IdleMS: c.IdleMs, BackpressuredMS: c.BackpressuredMs, StateBytes: c.StateBytes,
	}
	if c.Watermark != nil {
		m.Watermark, m.HeldBy = c.Watermark, c.HeldBy
	}
	for _, u := range c.User {
		if m.User == nil {
			m.User = map[string]uint64{}
		}
		m.User[u.Name] = u.Value
	}
	return m
}

func resultOf(r *metapb.JobResult) *api.Result {
	out := &api.Result{DurationMS: r.DurationMs, ClosingLine: r.ClosingLine, Sums: map[string]uint64{}, Texts: map[string]string{}}
	for _, v := range r.Results {
		switch x := v.Value.(type) {
		case *metapb.Result_Sum:
			out.Sums[v.Name] = x.Sum
		case *metapb.Result_Text:
			out.Texts[v.Name] = x.Text
		}
	}
	return out
}

func pointerOf(p *metapb.CheckpointPointer) api.Checkpoint {
	return api.Checkpoint{
		ID: p.CheckpointId, Status: api.CheckpointCompleted, Kind: stream.BarrierKind(p.Kind).String(), Path: p.Path,
		Bytes: p.StateBytes, NewBytes: p.NewBytes, Subtasks: int(p.Subtasks), Acked: int(p.Subtasks), DurationMS: p.DurationMs,
		TriggeredAt: time.UnixMilli(p.CompletedAtMs - p.DurationMs).UTC(),
	}
}

// Entries kept of a running job, as Flink keeps them.
const (
	checkpointHistory = 10
	failureHistory    = 16
)

// History is what a JobMaster remembers of checkpoints and failures for people.
type History struct {
	checkpoints []api.Checkpoint                  // newest last
	failures    []api.Failure                     // newest last
	parts       map[uint64][]coordinator.PartInfo // of the checkpoints that this leader has seen
	completed   int
	failed      int
	restored    int
}

// keepParts remembers what the subtasks did for a checkpoint, as long as it is in the
// history.
func (h *History) keepParts(id stream.CheckpointID, parts []coordinator.PartInfo) {
	kept := map[uint64][]coordinator.PartInfo{uint64(id): parts}
	for _, c := range h.checkpoints {
		if old := h.parts[c.ID]; old != nil && c.ID != uint64(id) {
			kept[c.ID] = old
		}
	}
	h.parts = kept
}

// Load takes over what an earlier leader has put on record.
func (h *History) Load(of *ha.JobState) {
	s := of.Statistics
	h.completed, h.failed, h.restored = int(s.GetCompleted()), int(s.GetFailed()), int(s.GetRestored())
	h.checkpoints, h.failures = nil, nil
	for _, c := range s.GetHistory() {
		h.checkpoints = append(h.checkpoints, checkpointOf(c))
	}
	for _, f := range of.Failures {
		h.failures = append(h.failures, api.Failure{
			Time: time.UnixMilli(f.TimeMs).UTC(), Task: f.Task, Cause: f.Cause, TaskManager: f.TaskmanagerId, Fatal: f.Fatal,
		})
	}
}

// Failures are put on record as they happen, for the next leader.
func (h *History) Failures() (all []*metapb.FailureRecord) {
	for _, f := range h.failures {
		all = append(all, &metapb.FailureRecord{
			TimeMs: f.Time.UnixMilli(), Task: f.Task, Cause: f.Cause, TaskmanagerId: f.TaskManager, Fatal: f.Fatal,
		})
	}
	return all
}

func checkpointOf(c *metapb.CheckpointRecord) api.Checkpoint {
	v := api.Checkpoint{
		ID: c.CheckpointId, Status: api.CheckpointCompleted, Kind: stream.BarrierKind(c.Kind).String(), Failure: c.Failure,
		TriggeredAt: time.UnixMilli(c.TriggeredAtMs).UTC(), DurationMS: c.DurationMs, Bytes: c.StateBytes, NewBytes: c.NewBytes,
		Subtasks: int(c.Subtasks), Acked: int(c.Acked), Discarded: c.Discarded, Path: c.Path,
	}
	if c.Failure != "" {
		v.Status = api.CheckpointFailed
	}
	return v
}

// Statistics is what is put on record with the pointer p, which they count already.
func (h *History) Statistics(p *metapb.CheckpointPointer) *metapb.CheckpointStatistics {
	s := &metapb.CheckpointStatistics{Completed: uint64(h.completed) + 1, Failed: uint64(h.failed), Restored: uint64(h.restored)}
	for _, c := range h.checkpoints {
		if c.Status == api.CheckpointInProgress || c.ID == p.CheckpointId {
			continue
		}
		s.History = append(s.History, &metapb.CheckpointRecord{
			CheckpointId: c.ID, Kind: uint32(kindOf(c.Kind)), Failure: c.Failure, TriggeredAtMs: c.TriggeredAt.UnixMilli(), DurationMs: c.DurationMS,
			StateBytes: c.Bytes, NewBytes: c.NewBytes, Subtasks: uint32(c.Subtasks), Acked: uint32(c.Acked), Discarded: c.Discarded, Path: c.Path,
		})
	}
	s.History = append(s.History, &metapb.CheckpointRecord{
		CheckpointId: p.CheckpointId, Kind: p.Kind, TriggeredAtMs: p.CompletedAtMs - p.DurationMs, DurationMs: p.DurationMs,
		StateBytes: p.StateBytes, NewBytes: p.NewBytes, Subtasks: p.Subtasks, Acked: p.Subtasks, Path: p.Path,
	})
	if n := len(s.History) - checkpointHistory; n > 0 {
		s.History = s.History[n:]
	}
	return s
}

func kindOf(name string) stream.BarrierKind {
	for k := stream.CheckpointBarrier; k <= stream.FullBarrier; k++ {
		if k.String() == name {
			return k
		}
	}
	return stream.CheckpointBarrier
}

// Record takes in an entry of the checkpoint history.
func (h *History) Record(info coordinator.Info) {
	switch i := info.(type) {
	case coordinator.CheckpointTriggeredInfo:
		h.checkpoints = append(h.checkpoints, api.Checkpoint{
			ID: uint64(i.ID), Status: api.CheckpointInProgress, Kind: i.Kind.String(), TriggeredAt: i.At.UTC(), Subtasks: i.Subtasks,
		})
		if len(h.checkpoints) > checkpointHistory {
			h.checkpoints = h.checkpoints[1:]
		}
	case coordinator.CheckpointCompletedInfo:
		h.completed++
		h.keepParts(i.ID, i.Parts)
		h.update(i.ID, func(c *api.Checkpoint) {
			c.Status, c.DurationMS, c.Bytes, c.NewBytes, c.Acked = api.CheckpointCompleted, i.Duration.Milliseconds(), i.StateBytes, i.NewBytes, i.Subtasks
		})
	case coordinator.CheckpointFailedInfo:
		h.failed++
		h.keepParts(i.ID, i.Parts)
		h.update(i.ID, func(c *api.Checkpoint) {
			c.Status, c.DurationMS, c.Acked, c.Failure = api.CheckpointFailed, i.Duration.Milliseconds(), i.Acks, i.Cause.String()+": "+i.Reason
		})
	case coordinator.CheckpointSubsumedInfo:
		h.update(i.ID, func(c *api.Checkpoint) { c.Discarded = true })
	}
}

func (h *History) update(id stream.CheckpointID, f func(*api.Checkpoint)) {
	for i := range h.checkpoints {
		if h.checkpoints[i].ID == uint64(id) {
			f(&h.checkpoints[i])
		}
	}
}

// Fail takes in a failure of the job. Its subtask, if it has one, is named as people
// know it: "count[1]".
func (h *History) Fail(f execgraph.RegionFailed, g *job.Graph) {
	task := ""
	switch {
	case f.Failure.Subtask != nil:
		task = g.SubtaskName(*f.Failure.Subtask)
	case f.Failure.TaskManager != "":
		task = "all subtasks on " + f.Failure.TaskManager
	}
	h.failures = append(h.failures, api.Failure{
		Time: f.Failure.Time.UTC(), Task: task, Cause: Cause(f.Failure), TaskManager: f.Failure.TaskManager, Fatal: f.GivenUp,
	})
	if len(h.failures) > failureHistory {
		h.failures = h.failures[1:]
	}
}

// failureBytes bounds the text of a failure: a stack, or what is wrong with some
// checkpoints, and small enough to be on record.
const failureBytes = 2 << 10

// Cause is what is told of a failure: one line, then its details.
func Cause(f execgraph.Failure) string {
	cause := f.Cause
	// The details of a subtask's failure begin with what it is told by.
	if detail := strings.TrimSpace(strings.TrimPrefix(f.Detail, f.Cause)); detail != "" {
		cause += "\n" + detail
	}
	if len(cause) > failureBytes {
		cause = strings.ToValidUTF8(cause[:failureBytes-len("…")], "") + "…"
	}
	return cause
}

// Fill puts the history into a view.
func (h *History) Fill(j *api.Job, pointers []*metapb.CheckpointPointer) {
	j.Checkpoints.Completed, j.Checkpoints.Failed, j.Checkpoints.Restored = h.completed, h.failed, h.restored
	j.Checkpoints.History = []api.Checkpoint{}
	for _, c := range slices.Backward(h.checkpoints) {
		for _, p := range pointers {
			if p.CheckpointId == c.ID {
				c.Path = p.Path
			}
		}
		if c.Status == api.CheckpointInProgress {
			j.Checkpoints.InProgress++
		}
		if c.Status == api.CheckpointCompleted && j.LastCheckpoint == nil { // deleted with the job's end
			last := c
			j.LastCheckpoint = &last
		}
		j.Checkpoints.History = append(j.Checkpoints.History, c)
	}
	for _, f := range h.failures { // that of the result, if it is another, stays the newest
		if len(j.Failures) > 0 && strings.HasPrefix(f.Cause, j.Failures[0].Cause) {
			j.Failures = nil
		}
	}
	for _, f := range slices.Backward(h.failures) {
		j.Failures = append(j.Failures, f)
	}
	j.LastFailure = nil
	for i := range j.Failures { // that which ended the job, else the newest
		if f := &j.Failures[i]; j.LastFailure == nil || f.Fatal && !j.LastFailure.Fatal {
			j.LastFailure = f
		}
	}
}

// Details is what the subtasks did for the checkpoint c.
func Details(c api.Checkpoint, parts []coordinator.PartInfo, g *job.Graph) *api.CheckpointDetails {
	d := &api.CheckpointDetails{Checkpoint: c, Vertices: []api.CheckpointVertex{}}
	for _, p := range parts {
		if n := len(d.Vertices); n == 0 || d.Vertices[n-1].ID != int(p.Subtask.Vertex) {
			d.Vertices = append(d.Vertices, api.CheckpointVertex{
				ID: int(p.Subtask.Vertex), UID: g.VertexUID(p.Subtask.Vertex), Subtasks: []api.CheckpointSubtask{},
			})
		}
		v := &d.Vertices[len(d.Vertices)-1]
		v.Subtasks = append(v.Subtasks, part(p, c.TriggeredAt))
	}
	return d
}

// part is what a subtask did for a checkpoint triggered at triggered.
func part(p coordinator.PartInfo, triggered time.Time) api.CheckpointSubtask {
	s := api.CheckpointSubtask{Index: p.Subtask.Index, Bytes: p.StateBytes, NewBytes: p.NewBytes}
	if p.AckedAt.IsZero() {
		return s
	}
	at := p.AckedAt.UTC()
	s.AckedAt, s.DurationMS = &at, at.Sub(triggered).Milliseconds()
	ms := func(ns int64) int64 { return time.Duration(ns).Milliseconds() }
	s.StartDelayMS, s.AlignmentMS, s.SyncMS, s.AsyncMS = ms(p.Timings.StartDelay), ms(p.Timings.Alignment), ms(p.Timings.Sync), ms(p.Timings.Async)
	s.LongestStallMS = ms(p.Timings.LongestStall)
	s.InFlightBytes, s.ProcessedBytes, s.Unaligned = p.InFlight, p.Timings.ProcessedBytes, p.Timings.Unaligned
	return s
}

// Parts is what the subtasks did for a checkpoint, nil if this leader has not seen it.
func (h *History) Parts(id uint64) []coordinator.PartInfo { return h.parts[id] }

// Restored counts a restore.
func (h *History) Restored() { h.restored++ }
