package lint

import (
	"slices"
	"strings"
	"testing"
)

const everyone = "*"

// outside says who may import what is not ours. The longest prefix counts. A library
// that is not here has not been chosen: add it with its reason, or do without.
var outside = map[string][]string{
	// Runs are written and read by one package, so that their format has one owner.
	"github.com/cockroachdb/pebble/v2/sstable": {"statebackend/run"},
	// The DB is a cache behind one backend.
	"github.com/cockroachdb/pebble/v2":             {"statebackend/pebble"},
	"github.com/cockroachdb/pebble/v2/bloom":       {"statebackend/run", "statebackend/pebble"},
	"github.com/cockroachdb/pebble/v2/objstorage":  {"statebackend/run", "statebackend/pebble"},
	"github.com/cockroachdb/pebble/v2/vfs":         {"statebackend/run", "statebackend/pebble"},
	"github.com/cockroachdb/pebble/v2/vfs/errorfs": {"statebackend/statetest"},
	// Only one package speaks to etcd; its client answers in gRPC's codes and logs to zap.
	"go.etcd.io/etcd":               {"coordinator/ha/etcdha"},
	"go.uber.org/zap":               {"coordinator/ha/etcdha"},
	"google.golang.org/grpc/codes":  {"coordinator/ha/etcdha", "proto/weirpb", "jobmanager/session", "taskmanager", "taskmanager/worker"},
	"google.golang.org/grpc/status": {"coordinator/ha/etcdha", "proto/weirpb", "jobmanager/session", "taskmanager", "taskmanager/worker"},
	// gRPC is for control, never for records.
	"google.golang.org/grpc": {"proto/weirpb", "jobmanager", "jobmanager/session", "taskmanager", "taskmanager/worker", "internal/minicluster", "cmd/weir", "weir", "integration"},

	"google.golang.org/protobuf": {everyone},
	"github.com/zeebo/xxh3":      {"codec", "statebackend/table", "statebackend/run", "statebackend/runlist", "stream"}, // the hash of keys, and digests
	"golang.org/x/sys":           {everyone},                                                                            // locks, process groups, fsync

	// Doors.
	"github.com/spf13/cobra":              {"cmd/weir"},
	"github.com/spf13/pflag":              {"cmd/weir", "weir", "internal/config"},
	"github.com/vbauerster/mpb/v8":        {"cmd/weir"},
	"golang.org/x/term":                   {"cmd/weir", "weir"},
	"github.com/knadh/koanf":              {"internal/config", "cmd/weir"},
	"github.com/prometheus/client_golang": {"jobmanager", "jobmanager/rest", "taskmanager", "taskmanager/worker", "cmd/weir", "internal/event"},

	// Packages that are imported by tests only.
	"github.com/cockroachdb/datadriven": {"coordinator/ha/hatest", "statebackend/statetest", "operator/operatortest", "integration", "weirtest"},
	"github.com/google/go-cmp":          {"coordinator/ha/hatest", "statebackend/statetest", "operator/operatortest", "integration", "weirtest"},
	"pgregory.net/rapid":                {"statebackend/statetest", "operator/operatortest", "integration"},
	"go.uber.org/goleak":                {"integration"},
}

// allowed returns who may import path, by the longest prefix that ends at a slash.
func allowed(path string) []string {
	for p := path; ; {
		if who, ok := outside[p]; ok {
			return who
		}
		i := strings.LastIndexByte(p, '/')
		if i < 0 {
			return nil
		}
		p = p[:i]
	}
}

func TestOutsideWorld(t *testing.T) {
	for _, p := range repository(t).sorted() {
		if outOfPolicy[p.dir] != "" {
			continue
		}
		for _, imported := range p.imports {
			first, _, _ := strings.Cut(imported, "/")
			if _, ours := own(imported); ours || !strings.Contains(first, ".") {
				continue
			}
			who := allowed(imported)
			switch {
			case who == nil:
				t.Errorf("%s imports %s, which has not been chosen (internal/lint/outside_test.go)", p.dir, imported)
			case who[0] != everyone && !slices.Contains(who, node(p.dir)):
				t.Errorf("%s must not import %s: only %s may", p.dir, imported, strings.Join(who, ", "))
			}
		}
	}
}

func TestLongestPrefix(t *testing.T) {
	for path, want := range map[string]string{
		"github.com/cockroachdb/pebble/v2":                   "statebackend/pebble",
		"github.com/cockroachdb/pebble/v2/sstable/block":     "statebackend/run",
		"go.etcd.io/etcd/client/v3/concurrency":              "coordinator/ha/etcdha",
		"google.golang.org/grpc/credentials/insecure":        "proto/weirpb",
		"google.golang.org/protobuf/encoding/protojson":      everyone,
		"github.com/cockroachdb/pebble/v2/sstable2/not/ours": "statebackend/pebble",
	} {
		if who := allowed(path); len(who) == 0 || who[0] != want {
			t.Errorf("%s: allowed to %v, want %s first", path, who, want)
		}
	}
	if who := allowed("example.com/x"); who != nil {
		t.Errorf("unknown library allowed to %v", who)
	}
}
