package rest

import (
	"strconv"

	"github.com/weirstream/weir/client/api"
)

// Flink's forms of what the subtasks did for a checkpoint.

type flinkTaskStatistics struct {
	ID             uint64 `json:"id"`
	Status         string `json:"status"`
	LatestAck      int64  `json:"latest_ack_timestamp"`
	CheckpointSize uint64 `json:"checkpointed_size"`
	StateSize      uint64 `json:"state_size"`
	Duration       int64  `json:"end_to_end_duration"`
	Alignment      uint64 `json:"alignment_buffered"`
	Processed      uint64 `json:"processed_data"`
	Persisted      uint64 `json:"persisted_data"`
	Subtasks       int    `json:"num_subtasks"`
	Acknowledged   int    `json:"num_acknowledged_subtasks"`
}

type flinkDetailed struct {
	*flinkCheckpoint
	Tasks map[string]flinkTaskStatistics `json:"tasks"`
}

func flinkDetails(d *api.CheckpointDetails) any {
	f := flinkDetailed{flinkCheckpointOf(&d.Checkpoint), map[string]flinkTaskStatistics{}}
	for i := range d.Vertices {
		v := &d.Vertices[i]
		f.Tasks[strconv.Itoa(v.ID)] = flinkTask(d, v)
	}
	return f
}

func flinkTask(d *api.CheckpointDetails, v *api.CheckpointVertex) flinkTaskStatistics {
	t := flinkTaskStatistics{ID: d.ID, Status: d.Status, LatestAck: -1, Subtasks: len(v.Subtasks)}
	for _, s := range v.Subtasks {
		if s.AckedAt == nil {
			continue
		}
		t.Acknowledged++
		t.LatestAck = max(t.LatestAck, millis(*s.AckedAt))
		t.Duration = max(t.Duration, s.DurationMS)
		t.CheckpointSize += s.NewBytes
		t.StateSize += s.Bytes
		t.Processed += s.ProcessedBytes
		t.Persisted += s.InFlightBytes
	}
	return t
}

type flinkSubtaskStatistics struct {
	Index          int                 `json:"index"`
	Status         string              `json:"status"`
	Ack            int64               `json:"ack_timestamp,omitempty"`
	Duration       int64               `json:"end_to_end_duration,omitempty"`
	CheckpointSize uint64              `json:"checkpointed_size"`
	StateSize      uint64              `json:"state_size"`
	Checkpoint     flinkSubtaskTimes   `json:"checkpoint"`
	Alignment      flinkSubtaskBarrier `json:"alignment"`
	StartDelay     int64               `json:"start_delay"`
	Unaligned      bool                `json:"unaligned_checkpoint"`
}

type flinkSubtaskTimes struct {
	Sync  int64 `json:"sync"`
	Async int64 `json:"async"`
}

type flinkSubtaskBarrier struct {
	Buffered  uint64 `json:"buffered"`
	Processed uint64 `json:"processed"`
	Persisted uint64 `json:"persisted"`
	Duration  int64  `json:"duration"`
}

type flinkVertexStatistics struct {
	flinkTaskStatistics
	Subtasks []flinkSubtaskStatistics `json:"subtasks"`
}

func flinkSubtasks(d *api.CheckpointDetails, v *api.CheckpointVertex) any {
	f := flinkVertexStatistics{flinkTask(d, v), []flinkSubtaskStatistics{}}
	for _, s := range v.Subtasks {
		t := flinkSubtaskStatistics{Index: s.Index, Status: "pending_or_failed"}
		if s.AckedAt != nil {
			t = flinkSubtaskStatistics{
				Index: s.Index, Status: "completed", Ack: millis(*s.AckedAt), Duration: s.DurationMS, CheckpointSize: s.NewBytes, StateSize: s.Bytes,
				Checkpoint: flinkSubtaskTimes{s.SyncMS, s.AsyncMS},
				Alignment:  flinkSubtaskBarrier{0, s.ProcessedBytes, s.InFlightBytes, s.AlignmentMS},
				StartDelay: s.StartDelayMS, Unaligned: s.Unaligned,
			}
		}
		f.Subtasks = append(f.Subtasks, t)
	}
	return f
}
