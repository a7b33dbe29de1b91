package metadata

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/proto/metapb"
)

var update = flag.Bool("update", false, "write the golden file anew")

// sample uses every field that a checkpoint of today can have.
func sample() *metapb.CheckpointMetadata {
	run := func(id string, first, last uint32) *metapb.Run {
		return &metapb.Run{
			Id: id, FirstGroup: first, LastGroup: last, Entries: 3, Bytes: 1000, FirstAck: 6, Attempt: "e17.n2",
			Files: []*metapb.RunFile{{
				Name: "shared/" + id + ".sst", Size: 1000, TailDigest: bytes.Repeat([]byte{1}, 32), TailSize: 100,
				Digest: bytes.Repeat([]byte{2}, 32), Smallest: []byte("a"), Largest: []byte("z"),
			}},
		}
	}
	packed := run("r2", 32768, 65535)
	packed.Files[0].Name, packed.Files[0].Offset, packed.Files[0].PackSize = "shared/p.pack", 500, 2000
	return &metapb.CheckpointMetadata{
		FormatVersion: 1, ClusterId: "default", JobId: strings.Repeat("0a", 16), JobName: "golden", CheckpointId: 7, Kind: 1,
		Incarnation: 3, LeaderEpoch: 17, TriggeredAtMs: 1, DurationMs: 2, HashName: "xxh3-64/seed0", KeyGroups: 65536,
		PlanSha256: bytes.Repeat([]byte{3}, 32), NextStateId: 3, StillReads: []string{"/other/job/x.sst", "shared/old.sst"},
		StateIds: []*metapb.StateID{{Uid: "count", Name: "n", Id: 1}, {Uid: "count", Name: "timers", Id: 2}},
		Operators: []*metapb.OperatorSnapshot{
			{Uid: "count", Parallelism: 2, Subtasks: []*metapb.SubtaskSnapshot{
				{Index: 0, FirstGroup: 0, LastGroup: 32767, Runs: []*metapb.Run{run("r1", 0, 32767)}, Watermark: 5},
				{Index: 1, FirstGroup: 32768, LastGroup: 65535, Runs: []*metapb.Run{
					packed,
					{Id: "r3", InlineTable: []byte("table"), FirstGroup: 32768, LastGroup: 65535, InlineDigest: []byte{4}, BasePath: "/elsewhere"},
				}, Results: []*metapb.Result{{Name: "sum", Value: &metapb.Result_Sum{Sum: 9}}}},
			}},
			{Uid: "source", Parallelism: 1, Subtasks: []*metapb.SubtaskSnapshot{{LastGroup: 65535, Ended: true, OperatorStates: []*metapb.OperatorState{
				{Name: "splits", Kind: metapb.StateKind_STATE_KIND_SPLIT_LIST, Entries: [][]byte{{1}, {2}}},
			}}}},
		},
	}
}

// later is sample with what came to version 1 later: schemas, records in flight, files of
// tasks, and how it was made.
func later() *metapb.CheckpointMetadata {
	m := sample()
	m.Type = metapb.SnapshotType_SNAPSHOT_TYPE_NATIVE
	m.Operators[0].KeySchema = []byte("key schema")
	first, second := m.Operators[0].Subtasks[0], m.Operators[0].Subtasks[1]
	first.Schemas = []*metapb.Schema{
		{StateId: 1, Schema: []byte("s0"), Kind: metapb.StateKind_STATE_KIND_VALUE},
		{StateId: 1, Ordinal: 1, Schema: []byte("s1"), Kind: metapb.StateKind_STATE_KIND_VALUE},
		{StateId: 2, Schema: []byte("s"), Kind: metapb.StateKind_STATE_KIND_MAP, NamespaceSchema: []byte("ns")},
	}
	const hash = metapb.Distribution_DISTRIBUTION_HASH
	first.ChannelStates = []*metapb.ChannelState{
		{FromUid: "source", Distribution: hash, RecordSchema: []byte("r"), Records: 2, File: "chk-7/inflight-e17.n2-v1-0", Size: 90, Digest: []byte{5}, Attempt: "e17.n2"},
		{FromUid: "other", Input: 1, Distribution: hash, RecordSchema: []byte("r"), Records: 1, File: "chk-7/inflight-e17.n2-v1-0", Offset: 90, Size: 40, Digest: []byte{6}, Attempt: "e17.n2"},
	}
	second.ChannelStates = []*metapb.ChannelState{{FromUid: "source", Distribution: hash, Records: 1, Pieces: []byte("piece"), Size: 5, Digest: []byte{7}}}
	m.Operators[1].Subtasks[0].Owned = []*metapb.OwnedFile{
		{Name: "taskowned/0123456789ab-3-0-0", Size: 10, Digest: []byte{8}},
		{Name: "taskowned/0123456789ab-3-0-1", Size: 11, Digest: []byte{9}, BasePath: "/elsewhere", File: "0123456789ab-3-0-1.owned"},
	}
	return m
}

// TestGolden: files of version 1 are read for ever, and are written the same.
func TestGolden(t *testing.T) {
	for name, sample := range map[string]*metapb.CheckpointMetadata{"testdata/v1._metadata": sample(), "testdata/v1-later._metadata": later()} {
		got, err := Encode(sample)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(name, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("Encode gives other bytes than %s", name)
		}
		m, err := Decode(want)
		if err != nil || !proto.Equal(m, sample) {
			t.Errorf("decoded %v, %v", m, err)
		}
	}
}

// TestEveryTruncationAndEveryBit: nothing that is not the file is taken for it.
func TestEveryTruncationAndEveryBit(t *testing.T) {
	file, err := Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	for n := range file {
		if _, err := Decode(file[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("first %d of %d bytes: %v", n, len(file), err)
		}
	}
	for i := range len(file) * 8 {
		file[i/8] ^= 1 << (i % 8)
		if _, err := Decode(file); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit %d of byte %d flipped: %v", i%8, i/8, err)
		}
		file[i/8] ^= 1 << (i % 8)
	}
	for _, more := range [][]byte{{0}, file} {
		if _, err := Decode(append(bytes.Clone(file), more...)); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("with %d bytes more: %v", len(more), err)
		}
	}
}

// frame makes a file with good digest around any payload.
func frame(version uint32, length int, payload []byte) []byte {
	f := append(make([]byte, headerSize), payload...)
	copy(f, magic)
	binary.BigEndian.PutUint32(f[8:], version)
	binary.BigEndian.PutUint64(f[12:], uint64(length))
	sum := sha256.Sum256(f)
	return append(f, sum[:]...)
}

func TestFrame(t *testing.T) {
	payload, _ := proto.Marshal(sample())
	for _, c := range []struct {
		name string
		file []byte
		want error
	}{
		{"good", frame(1, len(payload), payload), nil},
		{"newer", frame(2, len(payload), payload), ErrVersion},
		{"length", frame(1, len(payload)-1, payload), ErrCorrupt},
		{"no protobuf", frame(1, 3, []byte{0xff, 0xff, 0xff}), ErrInvalid},
		{"empty", frame(1, 0, nil), ErrVersion},
	} {
		if _, err := Decode(c.file); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	sub := func(m *metapb.CheckpointMetadata, i int) *metapb.SubtaskSnapshot { return m.Operators[0].Subtasks[i] }
	for name, spoil := range map[string]func(m *metapb.CheckpointMetadata){
		"newer content":      func(m *metapb.CheckpointMetadata) { m.FormatVersion = 2 },
		"other hash":         func(m *metapb.CheckpointMetadata) { m.HashName = "murmur" },
		"other groups":       func(m *metapb.CheckpointMetadata) { m.KeyGroups = 128 },
		"uid twice":          func(m *metapb.CheckpointMetadata) { m.Operators[1].Uid = "count" },
		"uid empty":          func(m *metapb.CheckpointMetadata) { m.Operators[0].Uid = "" },
		"absolute file":      func(m *metapb.CheckpointMetadata) { sub(m, 0).Runs[0].Files[0].Name = "/etc/passwd" },
		"file climbs":        func(m *metapb.CheckpointMetadata) { sub(m, 0).Runs[0].Files[0].Name = "shared/../../x" },
		"file dots":          func(m *metapb.CheckpointMetadata) { sub(m, 0).Runs[0].Files[0].Name = "." },
		"file empty":         func(m *metapb.CheckpointMetadata) { sub(m, 0).Runs[0].Files[0].Name = "" },
		"file backslash":     func(m *metapb.CheckpointMetadata) { sub(m, 0).Runs[0].Files[0].Name = `a\..\b` },
		"file with scheme":   func(m *metapb.CheckpointMetadata) { sub(m, 0).Runs[0].Files[0].Name = "s3://b/x" },
		"behind its pack":    func(m *metapb.CheckpointMetadata) { sub(m, 1).Runs[0].Files[0].Offset = 1001 },
		"far behind":         func(m *metapb.CheckpointMetadata) { sub(m, 1).Runs[0].Files[0].Offset = 1<<64 - 500 },
		"larger than a pack": func(m *metapb.CheckpointMetadata) { sub(m, 1).Runs[0].Files[0].Size = 1<<64 - 400 },
		"a part of no pack":  func(m *metapb.CheckpointMetadata) { sub(m, 0).Runs[0].Files[0].Offset = 1 },
		"file nul":           func(m *metapb.CheckpointMetadata) { sub(m, 0).Runs[0].Files[0].Name = "a\x00b" },
		"base relative":      func(m *metapb.CheckpointMetadata) { sub(m, 1).Runs[1].BasePath = "../x" },
		"still reads climbs": func(m *metapb.CheckpointMetadata) { m.StillReads[1] = "../x" },
		"ranges overlap":     func(m *metapb.CheckpointMetadata) { sub(m, 1).FirstGroup = 32767 },
		"range inverted":     func(m *metapb.CheckpointMetadata) { sub(m, 0).FirstGroup, sub(m, 0).LastGroup = 9, 8 },
		"range too high":     func(m *metapb.CheckpointMetadata) { sub(m, 1).LastGroup = 65536 },
		"run inverted":       func(m *metapb.CheckpointMetadata) { sub(m, 0).Runs[0].FirstGroup = 40000 },
		"run twice":          func(m *metapb.CheckpointMetadata) { sub(m, 1).Runs[1].Id = "r2" },
		"run without id":     func(m *metapb.CheckpointMetadata) { sub(m, 0).Runs[0].Id = "" },
		"run in two ways":    func(m *metapb.CheckpointMetadata) { sub(m, 0).Runs[0].InlineTable = []byte{1} },
		"subtask missing":    func(m *metapb.CheckpointMetadata) { m.Operators[0].Subtasks = m.Operators[0].Subtasks[:1] },
		"subtasks swapped":   func(m *metapb.CheckpointMetadata) { sub(m, 0).Index = 1 },
		"no parallelism":     func(m *metapb.CheckpointMetadata) { m.Operators[1].Parallelism, m.Operators[1].Subtasks = 0, nil },
		"state id zero":      func(m *metapb.CheckpointMetadata) { m.StateIds[0].Id = 0 },
		"state id twice":     func(m *metapb.CheckpointMetadata) { m.StateIds[1].Id = 1 },
		"state twice":        func(m *metapb.CheckpointMetadata) { m.StateIds[1].Name = "n" },
		"state id too high":  func(m *metapb.CheckpointMetadata) { m.NextStateId = 2 },
		"flight climbs":      func(m *metapb.CheckpointMetadata) { sub(m, 0).ChannelStates[1].File = "../chk-6/inflight" },
		"flight absolute":    func(m *metapb.CheckpointMetadata) { sub(m, 0).ChannelStates[0].File = "/etc/passwd" },
		"flight in two ways": func(m *metapb.CheckpointMetadata) { sub(m, 0).ChannelStates[0].Pieces = []byte{1} },
		"flight wraps":       func(m *metapb.CheckpointMetadata) { sub(m, 0).ChannelStates[1].Offset = 1<<64 - 40 },
		"owned climbs":       func(m *metapb.CheckpointMetadata) { m.Operators[1].Subtasks[0].Owned[0].Name = "taskowned/../x" },
		"owned lies outside": func(m *metapb.CheckpointMetadata) { m.Operators[1].Subtasks[0].Owned[1].File = "../x" },
		"owned base":         func(m *metapb.CheckpointMetadata) { m.Operators[1].Subtasks[0].Owned[1].BasePath = "x" },
		"schemas not sorted": func(m *metapb.CheckpointMetadata) { sub(m, 0).Schemas[0].StateId = 2 },
		"alone, owned outside": func(m *metapb.CheckpointMetadata) {
			m.SelfContained, m.StillReads, sub(m, 1).Runs[1].BasePath = true, nil, ""
		},
		"alone, run outside": func(m *metapb.CheckpointMetadata) {
			m.SelfContained, m.StillReads, m.Operators[1].Subtasks[0].Owned[1].BasePath = true, nil, ""
		},
		"alone, still reads": func(m *metapb.CheckpointMetadata) {
			m.SelfContained, sub(m, 1).Runs[1].BasePath, m.Operators[1].Subtasks[0].Owned[1].BasePath = true, "", ""
		},
	} {
		m := later()
		spoil(m)
		if _, err := Encode(m); !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrVersion) {
			t.Errorf("%s: encoded: %v", name, err)
		}
		payload, _ := proto.Marshal(m)
		if _, err := Decode(frame(1, len(payload), payload)); !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrVersion) {
			t.Errorf("%s: decoded: %v", name, err)
		}
	}
	// The halves of a run that was clipped, together again.
	m := sample()
	again := proto.Clone(sub(m, 0).Runs[0]).(*metapb.Run)
	sub(m, 0).Runs[0].LastGroup, again.FirstGroup = 99, 100
	sub(m, 0).Runs = append(sub(m, 0).Runs, again)
	if _, err := Encode(m); err != nil {
		t.Errorf("two clips of one run: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	file, err := Encode(sample())
	if err != nil {
		f.Fatal(err)
	}
	for _, m := range []*metapb.CheckpointMetadata{sample(), later()} {
		payload, _ := proto.Marshal(m)
		f.Add(payload)
	}
	f.Add([]byte{})
	f.Add(file)
	f.Fuzz(func(t *testing.T, payload []byte) {
		_, _ = Decode(payload)
		// With a good frame the fuzzer gets past the digest.
		m, err := Decode(frame(1, len(payload), payload))
		if err != nil {
			return
		}
		again, err := Encode(m)
		if err != nil {
			t.Fatalf("decoded but can't be encoded: %v", err)
		}
		if m2, err := Decode(again); err != nil || !proto.Equal(m, m2) {
			t.Fatalf("not the same after a round trip: %v", err)
		}
	})
}
