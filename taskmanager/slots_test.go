package taskmanager

import (
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/proto/weirpb"
)

// TestSlotsChange: the worker's share of the memory follows the slots that the job has
// here; one that has not attached yet is told when it does.
func TestSlotsChange(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		slots := func(n uint32) {
			w.stream.to <- &weirpb.ToTaskManager{Message: &weirpb.ToTaskManager_WorkerSlots{WorkerSlots: &weirpb.WorkerSlots{JobId: jobA, Slots: n}}}
		}
		p, a := w.ready(1)
		slots(1) // as before: no news
		slots(2)
		if m, err := a.Recv(); err != nil || m.GetMemory().GetMemoryBytes() != 1000 {
			t.Errorf("the worker is told %v, %v; want all of the memory", m, err)
		}
		slots(1)
		if m, err := a.Recv(); err != nil || m.GetMemory().GetMemoryBytes() != 500 {
			t.Errorf("the worker is told %v, %v; want half of the memory", m, err)
		}
		w.stop(1, 0)
		<-p.killed
		w.ended(p, 1, "because", false)

		w.start(2)
		p = <-w.launch.procs
		slots(2)
		synctest.Wait()
		a = w.attach(&weirpb.AttachWorker{ProtocolVersion: weirpb.ProtocolVersion, JobId: jobA, WorkerId: 2})
		if m, err := a.Recv(); err != nil || m.GetAccepted().GetMemoryBytes() != 1000 {
			t.Errorf("the worker is accepted with %v, %v; want all of the memory", m, err)
		}
		w.stop(2, 0)
		<-p.killed
		w.ended(p, 2, "because", false)
	})
}
