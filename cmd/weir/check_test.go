package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
	"github.com/weirstream/weir/coordinator/metadata"
	"github.com/weirstream/weir/coordinator/restore"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

type totalV1 struct{ N int32 }

type totalV2 struct {
	N    int64
	Last string
}

// statefulV1 and statefulV2 are two versions of a program.
func statefulV1(e *weir.Env) error {
	e.From("numbers", generator.Range(10, func(i uint64) uint64 { return i })).KeyBy(weir.Self).
		Fold("total", totalV1{}, func(t totalV1, _ uint64) totalV1 { return t }, func(uint64, totalV1) string { return "" }).
		KeyBy(weir.Self).Fold("dedupe", false, func(bool, string) bool { return true }, func(string, bool) string { return "" }).
		Print()
	return nil
}

func statefulV2(e *weir.Env) error {
	e.From("numbers", generator.Range(10, func(i uint64) uint64 { return i })).KeyBy(weir.Self).
		Fold("total", totalV2{}, func(t totalV2, _ uint64) totalV2 { return t }, func(uint64, totalV2) string { return "" }).
		KeyBy(weir.Self).Fold("dedup", false, func(bool, string) bool { return true }, func(string, bool) string { return "" }).
		Print()
	return nil
}

// writeSnapshot writes a checkpoint of the program, with a run of 2 KiB in each keyed
// operator that no test reads.
func writeSnapshot(t *testing.T, build func(*weir.Env) error) string {
	t.Helper()
	plan, _, err := weir.ProgramFor(nil, func(string) string { return "" }, build)
	if err != nil {
		t.Fatal(err)
	}
	ids := restore.AllocateStateIDs(restore.StateIDs{}, plan)
	m := &metapb.CheckpointMetadata{
		FormatVersion: 1, HashName: stream.HashName, KeyGroups: stream.KeyGroups, JobId: strings.Repeat("a", 32), JobName: "numbers",
		CheckpointId: 7, Kind: uint32(stream.CheckpointBarrier), StateIds: ids.IDs, NextStateId: ids.Next,
	}
	for _, op := range plan.Operators {
		sub := &metapb.SubtaskSnapshot{LastGroup: stream.KeyGroups - 1}
		for _, id := range ids.IDs {
			for _, st := range op.States {
				if id.Uid == op.Uid && id.Name == st.Name {
					sub.Schemas = append(sub.Schemas, &metapb.Schema{StateId: id.Id, Schema: st.ValueSchema, Kind: st.Kind})
					sub.Runs = []*metapb.Run{{Id: "r-" + op.Uid, Files: []*metapb.RunFile{{Name: "shared/r-" + op.Uid}}, LastGroup: stream.KeyGroups - 1, Bytes: 2048}}
				}
			}
		}
		m.Operators = append(m.Operators, &metapb.OperatorSnapshot{Uid: op.Uid, Parallelism: 1, KeySchema: op.KeySchema, Subtasks: []*metapb.SubtaskSnapshot{sub}})
	}
	sortOperators(m)
	b, err := metadata.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), strings.Repeat("a", 32), "chk-7")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, metadata.FileName), b, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func sortOperators(m *metapb.CheckpointMetadata) {
	for i := range m.Operators {
		for j := range i {
			if m.Operators[i].Uid < m.Operators[j].Uid {
				m.Operators[i], m.Operators[j] = m.Operators[j], m.Operators[i]
			}
		}
	}
}

// TestCheck: without a cluster.
func TestCheck(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	snapshot := writeSnapshot(t, statefulV1)
	var all strings.Builder
	for _, args := range []string{
		"check -s SNAP EXE", "check -s SNAP --map-uid dedupe=dedup EXE", "check -s SNAP -n EXE",
		"check -s SNAP --map-uid dedupe=dedup -o name EXE", "check -s SNAP -o json EXE",
		"check -s SNAP --map-uid dedupe=dedup -p 3 -o name EXE", "check -s SNAP -p many EXE",
		"check EXE", "check -s SNAP", "check -s SNAP EXE more", "check -s SNAP/none EXE", "check -s SNAP --map-uid dedupe=dedop EXE", "check -s SNAP --map-uid none=dedup EXE",
		"run --dry-run -s SNAP EXE", "run --dry-run -s SNAP -n EXE",
	} {
		r := weirCommand(t, nil, []string{envProgram + "=stateful"}, strings.Fields(strings.ReplaceAll(strings.ReplaceAll(args, "EXE", exe), "SNAP", snapshot))...)
		text := strings.ReplaceAll(strings.ReplaceAll(r.String(), exe, "EXE"), snapshot, "SNAP")
		fmt.Fprintf(&all, "$ weir %s\n%s\n", args, text)
	}
	golden(t, "check.txt", all.String())
}
