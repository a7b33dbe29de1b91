package run

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/envelope"
	"github.com/weirstream/weir/stream"
)

var rewrite = flag.Bool("rewrite-golden", false, "write testdata of the newest format version anew (never for a version that was released)")

// goldenOps are what testdata/v1 holds, and of version 2 more. They may never change.
func goldenOps(version int) (ops []op) {
	val := func(e envelope.Head, s string) string { return string(envelope.Append(nil, e)) + s }
	ops = append(ops, op{KindClear, key(0, ""), key(2, "")}) // over several files
	for g := range 4 {
		for i := range 40 {
			k := key(uint16(g), fmt.Sprintf("key-%03d", i))
			switch i % 8 {
			case 7:
				ops = append(ops, op{KindDelete, k, ""})
			case 6:
				ops = append(ops, op{KindSet, k, val(envelope.Head{Kind: 3, Schema: 2, HasTime: true, Time: int64(i) - 20}, "with time")})
			default:
				ops = append(ops, op{KindSet, k, val(envelope.Head{Kind: 1, Schema: uint64(i % 2)}, fmt.Sprintf("value %d of group %d", i, g))})
			}
		}
		if version < 2 {
			continue
		}
		list := string([]byte{0, byte(g), 0, 0, 0, 2})
		for i := range 10 {
			switch k := list + fmt.Sprintf("key-%03d", i); i % 4 {
			case 0:
				ops = append(ops, op{KindSet, k, val(envelope.Head{Kind: 2}, "\x02ab")})
			case 1:
				ops = append(ops, op{KindMerge, k, val(envelope.Head{Kind: 2, Schema: 2, HasTime: true, Time: int64(i)}, "\x01c")})
			case 2:
				ops = append(ops, op{KindSet, k, val(envelope.Head{Kind: 2, Pieces: true}, "\x02\x00\x01\x01d\x02\x02\x02ef")})
			case 3:
				ops = append(ops, op{KindMerge, k, val(envelope.Head{Kind: 2, Pieces: true, HasTime: true, Time: -1}, "\x02\x02\x01\x01g\x00\x01\x01h")})
			}
		}
	}
	return append(ops, op{KindClear, key(65535, "x"), key(65535, "z")})
}

// TestGolden: runs that earlier versions wrote are read for ever.
func TestGolden(t *testing.T) {
	for version, operands := range map[int]int{1: 0, 2: 20} {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) { golden(t, version, operands) })
	}
}

func golden(t *testing.T, version, wantOperands int) {
	dir := filepath.Join("testdata", fmt.Sprint("v", version))
	if *rewrite && version == FormatVersion {
		rewriteGolden(t, dir)
	}
	b, err := os.ReadFile(filepath.Join(dir, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	var p metapb.Run
	if err := protojson.Unmarshal(b, &p); err != nil {
		t.Fatal(err)
	}
	l, err := FromProto([]*metapb.Run{&p})
	if err != nil {
		t.Fatal(err)
	}
	open := LocalOpener(nil, dir)
	if err := l[0].Verify(t.Context(), open); err != nil {
		t.Fatal(err)
	}
	if len(l[0].Files) < 3 || l[0].ID != "e7.n2-41" {
		t.Fatalf("%d files of run %s", len(l[0].Files), l[0].ID)
	}
	want := model{}
	want.apply(goldenOps(version), stream.AllKeyGroups)
	mustEqual(t, dir, collect(t, l.Read(t.Context(), open, stream.AllKeyGroups)), want)

	it := NewIter(t.Context(), l[0], open, stream.AllKeyGroups)
	defer it.Close()
	schemas, err := it.schemas()
	if err != nil || len(schemas) != 2 || schemas[1].State != 300 || string(schemas[1].Bytes) != "schema two" {
		t.Fatal(schemas, err)
	}
	tombstones, operands, clears := 0, 0, ""
	for e, ok := it.Next(); ok; e, ok = it.Next() {
		switch e.Kind {
		case KindDelete:
			tombstones++
		case KindMerge:
			operands++
		case KindClear:
			if at := strings.LastIndex(clears, "-"); at >= 0 && clears[at+1:] == hex.EncodeToString(e.Key) {
				clears = clears[:at] // goes on in the next file
			} else {
				clears += " " + hex.EncodeToString(e.Key)
			}
			clears += "-" + hex.EncodeToString(e.Value)
		}
	}
	if it.Err() != nil || tombstones != 20 || operands != wantOperands || clears != " 000000000001-000200000001 ffff0000000178-ffff000000017a" {
		t.Fatalf("%d tombstones, %d operands, clears %s, %v", tombstones, operands, clears, it.Err())
	}
}

// TestVersionsTogether: operands of version 2 come behind what a run of version 1 holds, in
// one database, too.
func TestVersionsTogether(t *testing.T) {
	fs := vfs.NewMem()
	old := List{}
	for version := 1; version <= 2; version++ {
		dir := filepath.Join("testdata", fmt.Sprint("v", version))
		var p metapb.Run
		b, err := os.ReadFile(filepath.Join(dir, "run.json"))
		if err == nil {
			err = protojson.Unmarshal(b, &p)
		}
		if err != nil {
			t.Fatal(err)
		}
		l, err := FromProto([]*metapb.Run{&p})
		if err != nil {
			t.Fatal(err)
		}
		to := fmt.Sprintf("/v%d", version)
		if _, err := vfs.Clone(vfs.Default, fs, dir, to); err != nil {
			t.Fatal(err)
		}
		old = append(old, l...)
	}
	db, err := pebble.Open("/db", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}, Merger: merger})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for i, r := range old {
		var paths []string
		for _, f := range r.Files {
			paths = append(paths, fmt.Sprintf("/v%d/%s", i+1, f.Base()))
		}
		if err := db.Ingest(t.Context(), paths); err != nil {
			t.Fatalf("version %d: %v", i+1, err)
		}
	}
	v, c, err := db.Get([]byte("\x00\x01\x00\x00\x00\x02key-001"))
	if err != nil || readList(string(v)) != "2c" {
		t.Fatalf("%q, %v", v, err)
	}
	c.Close()
	if _, _, err = db.Get([]byte(key(1, "key-007"))); !errors.Is(err, pebble.ErrNotFound) {
		t.Fatal(err)
	}
}

func rewriteGolden(t *testing.T, dir string) {
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r := write(t, Options{
		ID: "e7.n2-41", Dir: dir, Folder: "shared", TargetSize: 1000, BlockSize: 512, Attempt: "e7.n2",
		Schemas: []Schema{{1, []byte("schema one")}, {300, []byte("schema two")}},
	}, goldenOps(FormatVersion))
	b, err := protojson.MarshalOptions{Multiline: true}.Marshal(r.Proto())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "run.json"), append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestLayout holds the encodings of format 2, byte by byte, and those of format 1 that differ.
func TestLayout(t *testing.T) {
	p := properties{
		ID: "e1.n1-0", Number: 3, Groups: stream.KeyGroupRange{First: 1, Last: 0x203}, Points: 300, Operands: 4, Spans: 1, Schemas: []Schema{{5, []byte("s")}},
	}
	const head, tail = "0765312e6e312d30" + "03" + "0d787868332d36342f7365656430" + "0001" + "0203" + "ac02", "01" + "01" + "05" + "0173"
	if got := hex.EncodeToString(p.append(nil)); got != "02"+head+"04"+tail {
		t.Errorf("properties: %s, want %s", got, "02"+head+"04"+tail)
	}
	b, err := hex.DecodeString("01" + head + tail)
	if err != nil {
		t.Fatal(err)
	}
	first, err := decodeProperties(b)
	if first.Operands = 4; err != nil || !reflect.DeepEqual(first, p) {
		t.Errorf("properties of version 1: %+v, %v", first, err)
	}
	if got := hex.EncodeToString(digest([]byte("weir"))); got != goldenDigest {
		t.Errorf("digest %s", got)
	}
	// The value that xxHash's own test suite gives for no bytes.
	if got := hex.EncodeToString(digest(nil)); got != "99aa06d3014798d86001c324468d497f" {
		t.Errorf("digest of nothing %s", got)
	}
	if got := hex.EncodeToString(append(GroupStart(0x1ff), GroupEnd(0x1ff)...)); got != "01ff0200" {
		t.Error(got)
	}
}

const goldenDigest = "58611f8d7be1fe2c3921234764190df9"
