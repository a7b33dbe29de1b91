package runlist

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/run"
	"github.com/weirstream/weir/statebackend/table"
)

// intoMemory makes the list one inline run: it travels in the ack and lies in _metadata,
// with the JobManager. The caller holds change.
func (l *List) intoMemory(ctx context.Context) (written int64, err error) {
	old := l.listed()
	if len(old) == 0 || len(old) == 1 && old[0].run.Inline != nil {
		return 0, nil
	}
	if err := l.waitBehind(ctx); err != nil {
		return 0, err
	}
	sizes := map[statebackend.StateID]int64{}
	e, err := l.write(ctx, l.name(), math.MaxInt32, func(sink table.Sink) error {
		return l.each(ctx, old, true, func(e run.Entry) error {
			id := statebackend.StateID(binary.BigEndian.Uint32(e.Key[2:]))
			sizes[id] += int64(len(e.Key) + len(e.Value))
			if sizes[id] > l.o.MemoryLimit {
				return l.tooLarge(id)
			}
			return sink.Set(e.Key, e.Value)
		})
	})
	if err != nil {
		return 0, err
	}
	if e.run.Empty() {
		e = nil
	} else {
		written = e.run.Bytes
	}
	l.replace(old, e)
	return written, l.forget(old)
}

func (l *List) tooLarge(id statebackend.StateID) error {
	name := fmt.Sprintf("number %d", id)
	for _, d := range l.states() {
		if d.ID == id {
			name = fmt.Sprintf("%q", d.Name)
		}
	}
	return fmt.Errorf("state %s has more than %d bytes in one subtask, which is what the JobManager's memory takes: %w (use execution.checkpointing.storage: filesystem, or raise execution.checkpointing.jobmanager-storage.max-state-size)",
		name, l.o.MemoryLimit, statebackend.ErrTooLarge)
}
