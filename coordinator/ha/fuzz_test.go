package ha

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/proto/metapb"
)

// FuzzJobs: whatever stands in the store, it is read without a panic, and a job of which
// something cannot be understood says so.
func FuzzJobs(f *testing.F) {
	fields := []string{"graph", "incarnation", "intent", "result", "checkpoint-id", "statistics", "failures", "operations/t1", "checkpoints/0000000000000007", "of a newer version"}
	for i, m := range []proto.Message{
		&metapb.JobRecord{JobId: "a", Name: "orders", RestoreFrom: "/sp"}, &metapb.Incarnation{Number: 3}, &metapb.Intent{}, &metapb.JobResult{State: "FINISHED"},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b)
	}
	f.Add(uint8(4), []byte("17"))
	f.Add(uint8(8), []byte{0xff})
	record, err := proto.Marshal(&metapb.JobRecord{JobId: "a"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, field uint8, value []byte) {
		name := fields[int(field)%len(fields)]
		entries := []Entry{{Key: "jobs/a/graph", Value: record}, {Key: "jobs/a/" + name, Value: value}, {Key: "jobs/b/graph", Value: value}, {Key: fmt.Sprintf("jobs/%s", value), Value: value}}
		states := decodeJobs(entries)
		bad := new(JobState).decode(name, value)
		for _, s := range states {
			if s.ID == "a" && bad != nil && s.Problem == nil {
				t.Errorf("%s: %v, and the job has no problem", name, bad)
			}
			if s.Problem == nil && s.Record.JobId != string(s.ID) {
				t.Errorf("job %q has the record of %q", s.ID, s.Record.JobId)
			}
		}
	})
}
