package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

func TestDocumentationIsCurrent(t *testing.T) {
	const path = "../../docs/configuration.md"
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(Documentation()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != Documentation() {
		t.Errorf("%s is not what the registry says (%v); type: go test ./internal/config -update", path, err)
	}
}

func TestRegistry(t *testing.T) {
	env := map[string]string{}
	for _, o := range Options() {
		if o.Doc == "" || !strings.HasSuffix(o.Doc, ".") || strings.Contains(o.Doc, "\n") {
			t.Errorf("%s: the documentation must be one line that ends in a full stop", o.Key)
		}
		for _, key := range append([]string{o.Key}, o.Aliases...) {
			if other := env[envName(key)]; other != "" {
				t.Errorf("%s and %s have the same environment variable", key, other)
			}
			env[envName(key)] = key
		}
		if foreign(o.Key) != "" {
			t.Errorf("%s is taken for a setting of the JVM", o.Key)
		}
	}
	for _, o := range Options() {
		if strings.Count(Documentation(), "| `"+o.Key+"` |") != 1 {
			t.Errorf("%s does not stand in the documentation once: see sections in keys.go", o.Key)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"10 s": 10 * time.Second, "500 ms": 500 * time.Millisecond, "1min": time.Minute, "1 min": time.Minute, "7 d": 168 * time.Hour,
		"2 days": 48 * time.Hour, "1m30s": 90 * time.Second, "1.5s": 1500 * time.Millisecond, "3 minutes": 3 * time.Minute, "250": 250 * time.Millisecond,
		"0": 0, "1 H": time.Hour, "5 µs": 5 * time.Microsecond, "10s": 10 * time.Second, "1h 30m": 90 * time.Minute, "9 Seconds": 9 * time.Second,
	} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", s, got, err, want)
		}
		if again, err := ParseDuration(FormatDuration(want)); err != nil || again != want {
			t.Errorf("%v is written %q and read %v, %v", want, FormatDuration(want), again, err)
		}
	}
	for _, s := range []string{"", " ", "x", "10 parsecs", "-1s", "s", "99999999999999999999 d", "300000 d", "1 s 2 parsecs", "--1"} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("%q was read as %v", s, got)
		}
	}
}

func TestParseMemory(t *testing.T) {
	for s, want := range map[string]int64{
		"512m": 512 << 20, "1gb": 1 << 30, "1 GiB": 1 << 30, "4096": 4096, "3k": 3072, "0": 0, "2 TB": 2 << 40, "7 bytes": 7,
	} {
		if got, err := ParseMemory(s); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", s, got, err, want)
		}
		if again, err := ParseMemory(FormatMemory(want)); err != nil || again != want {
			t.Errorf("%d is written %q and read %d, %v", want, FormatMemory(want), again, err)
		}
	}
	for _, s := range []string{"", "1.5gb", "-1", "gb", "9999999999999tb", "1 xb"} {
		if got, err := ParseMemory(s); err == nil {
			t.Errorf("%q was read as %d", s, got)
		}
	}
}

func FuzzValues(f *testing.F) {
	for _, s := range []string{"10 s", "1m30s", "512m", "9223372036854775807 b", "106751 d", "-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDuration(s); err == nil {
			if again, err := ParseDuration(FormatDuration(d)); d < 0 || err != nil || again != d {
				t.Errorf("%q: %v is written %q, read %v, %v", s, d, FormatDuration(d), again, err)
			}
		}
		if n, err := ParseMemory(s); err == nil {
			if again, err := ParseMemory(FormatMemory(n)); n < 0 || err != nil || again != n {
				t.Errorf("%q: %d is written %q, read %d, %v", s, n, FormatMemory(n), again, err)
			}
		}
	})
}

// Each mistake gives one line that says which key, what is wrong and what to type.
func TestMistakes(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"execution.checkpointing.intervall", "1s", `unknown setting "execution.checkpointing.intervall"; did you mean execution.checkpointing.interval?`},
		{"taskmanager.numberoftaskslots", "1", `unknown setting "taskmanager.numberoftaskslots"; did you mean taskmanager.numberOfTaskSlots?`},
		{"interval", "1s", `unknown setting "interval"; did you mean execution.checkpointing.interval?`},
		{"frobnicate", "1", "unknown setting \"frobnicate\"; `weir config list` lists all"},
		{"execution.checkpointing.interval", "often", `execution.checkpointing.interval: value "often": is not a duration; wanted: a duration such as "10 s", "500 ms" or "1min"`},
		{"parallelism.default", "two", `parallelism.default: value "two": is not a whole number; wanted: a whole number`},
		{"parallelism.default", "0", `parallelism.default: value "0": is less than 1; wanted: a whole number`},
		{"state.backend.type", "etcd", `state.backend.type: value "etcd": is not known; wanted: one of pebble, heap`},
		{"taskmanager.memory.process.size", "lots", `taskmanager.memory.process.size: value "lots": is not a size; wanted: a size such as "512m" or "1gb"`},
		{"taskmanager.memory.task.heap.size", "1g", "setting taskmanager.memory.task.heap.size has no meaning in Weir: there is one number: taskmanager.memory.process.size"},
		{"env.java.opts.all", "-Xmx1g", "setting env.java.opts.all has no meaning in Weir: there is no JVM; set Go's GOGC, GOMEMLIMIT or GODEBUG in the environment of the daemon"},
		{"execution.checkpointing.dir", "s3://bucket/x", `execution.checkpointing.dir: value "s3://bucket/x": storage s3:// is not built yet; wanted: an absolute path or file:///…`},
		{"execution.checkpointing.dir", "checkpoints", `execution.checkpointing.dir: value "checkpoints": is not absolute: the processes of a cluster do not share a working folder; wanted: an absolute path or file:///…`},
		{"execution.checkpointing.mode", "AT_MOST_ONCE", `execution.checkpointing.mode: value "AT_MOST_ONCE": is not known; wanted: one of EXACTLY_ONCE, AT_LEAST_ONCE`},
		{"execution.checkpointing.unaligned.forced", "true", "setting execution.checkpointing.unaligned.forced has no meaning in Weir: unaligned checkpoints have two settings: execution.checkpointing.unaligned.enabled and execution.checkpointing.aligned-checkpoint-timeout"},
		{"restart-strategy.exponential-delay.max-backoff", "1 ms", "restart-strategy.exponential-delay.initial-backoff (1 s) is longer than restart-strategy.exponential-delay.max-backoff (1 ms)"},
		{"execution.checkpointing.data-inline-threshold", "2mb", "execution.checkpointing.data-inline-threshold (2mb) is more than 1mb: the _metadata must stay small"},
		{"execution.checkpointing.jobmanager-storage.max-state-size", "1gb", "execution.checkpointing.jobmanager-storage.max-state-size (1gb) must be between 1b and 64mb: the JobManager holds it all"},
		{"heartbeat.timeout", "1 s", "heartbeat.timeout (1 s) must be at least twice heartbeat.interval (1 s), and that more than 0"},
	} {
		l, err := Flags([]string{c.key + "=" + c.value})
		if err == nil {
			_, err = Resolve(l)
		}
		if err == nil || err.Error() != c.want {
			t.Errorf("-D %s=%s:\n got %v\nwant %s", c.key, c.value, err, c.want)
		}
	}
	for _, bad := range [][]string{{"novalue"}, {"=x"}, {"a=1", "a=2"}} {
		if _, err := Flags(bad); err == nil {
			t.Errorf("-D %q was accepted", bad)
		}
	}
}

func TestAliases(t *testing.T) {
	l, err := Flags([]string{"state.checkpoints.dir=file:///data/chk/", "state.backend=rocksdb", "restart-strategy=fixeddelay"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := Resolve(l)
	if err != nil {
		t.Fatal(err)
	}
	if e.Get(CheckpointDir) != "/data/chk" || e.Get(Backend) != "pebble" || e.Get(RestartType) != "fixed-delay" {
		t.Errorf("resolved to %v", e.Given())
	}
	if len(e.Notices) != 3 || !strings.Contains(e.Notices[2], "state.checkpoints.dir is called execution.checkpointing.dir now") {
		t.Errorf("notices %q", e.Notices)
	}
	if _, err := Flags([]string{"state.backend=heap", "state.backend.type=pebble"}); err != nil {
		t.Fatal(err)
	}
	l, _ = Flags([]string{"state.backend=heap", "state.backend.type=heap"})
	if _, err := Resolve(l); err == nil || !strings.Contains(err.Error(), "are the same setting") {
		t.Errorf("two names of one setting: %v", err)
	}
}

func TestLayers(t *testing.T) {
	file, err := parseFile("file conf.yaml", []byte(`
execution:
  checkpointing:
    interval: 5 s
    num-retained: 7
execution.checkpointing.min-pause: 100
taskmanager.numberOfTaskSlots: 4
high-availability:
  etcd.endpoints: [a:2379, "b:2379"]
`))
	if err != nil {
		t.Fatal(err)
	}
	env, err := Environ([]string{"PATH=/bin", "WEIR_TASKMANAGER_NUMBEROFTASKSLOTS=3", "WEIR_EXECUTION_CHECKPOINTING_INTERVAL=2s", "WEIR_PLAN=x", "WEIR_TEST_Y=1"})
	if err != nil {
		t.Fatal(err)
	}
	flags, err := Flags([]string{"execution.checkpointing.interval=1s"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := Resolve(flags, env, file)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string][2]string{
		"execution.checkpointing.interval":     {"1 s", "flag"},
		"taskmanager.numberOfTaskSlots":        {"3", "environment"},
		"execution.checkpointing.num-retained": {"7", "file conf.yaml"},
		"execution.checkpointing.min-pause":    {"100 ms", "file conf.yaml"},
		"high-availability.etcd.endpoints":     {"a:2379,b:2379", "file conf.yaml"},
		"state.backend.type":                   {"pebble", "default"},
	} {
		if v := e.values[key]; v.Value != want[0] || v.Origin != want[1] {
			t.Errorf("%s is %q from %q, want %q from %q", key, v.Value, v.Origin, want[0], want[1])
		}
	}
	if got := e.Get(EtcdEndpoints); len(got) != 2 || got[1] != "b:2379" {
		t.Errorf("endpoints %q", got)
	}
	for _, bad := range []string{
		"a: [", "- list", "execution.checkpointing.interval:", "x: {y: 1}\nx.y: 1", "rest.port: 2026-01-01",
		"rest.port: 1\nrest.port: 2", "taskmanager.numberOfTaskSlots: many", "execution: {checkpointing: {intervall: 1}}",
	} {
		l, err := parseFile("f", []byte(bad))
		if err == nil {
			_, err = Resolve(l)
		}
		if err == nil {
			t.Errorf("file %q was accepted", bad)
		} else if strings.Contains(bad, "intervall") && err.Error() != `f: unknown setting "execution.checkpointing.intervall"; did you mean execution.checkpointing.interval?` {
			t.Errorf("file %q: %v", bad, err)
		}
	}
	_, err = Environ([]string{"WEIR_REST_PROT=1"})
	if err == nil || err.Error() != "environment variable WEIR_REST_PROT is not a setting; did you mean WEIR_REST_PORT?" {
		t.Errorf("misspelt variable: %v", err)
	}
}

// Program flag > -D and -p > program's default > cluster > default.
func TestResolveJob(t *testing.T) {
	l, _ := Flags([]string{
		"parallelism.default=9", "state.backend.type=heap", "execution.checkpointing.interval=9s",
		"execution.checkpointing.num-retained=9", "taskmanager.numberOfTaskSlots=9",
	})
	cluster, err := Resolve(l)
	if err != nil {
		t.Fatal(err)
	}
	plan := &metapb.Plan{
		Config:   []*metapb.Setting{{Key: "parallelism.default", Value: "2"}},
		Defaults: []*metapb.Setting{{Key: "execution.checkpointing.interval", Value: "1s"}, {Key: "parallelism.default", Value: "4"}},
	}
	e, err := ResolveJob(plan, map[string]string{"parallelism.default": "3", "state.backend.type": "pebble"}, cluster)
	if err != nil {
		t.Fatal(err)
	}
	c := e.Job()
	if c.Parallelism != 2 || c.Backend != "pebble" || c.Checkpoints.Interval != time.Second || c.Checkpoints.Retained != 9 {
		t.Errorf("resolved to %+v", c)
	}
	if c.Restart != job.DefaultRestart {
		t.Errorf("restart policy %+v, want the default %+v", c.Restart, job.DefaultRestart)
	}
	if c.Checkpoints.Timeout != 10*time.Minute || c.Checkpoints.TolerableFailures != 3 || c.Checkpoints.DeleteOnCancellation {
		t.Errorf("checkpoints %+v", c.Checkpoints)
	}
	again, err := OfSettings(append(e.JobSettings(), &metapb.Setting{Key: "of.the.future", Value: "x"}))
	if err != nil || again != c {
		t.Errorf("read back %+v, %v, want %+v", again, err, c)
	}
	for _, s := range e.JobSettings() {
		if registry[s.Key].Scope != Job {
			t.Errorf("setting %s of the cluster went into the job", s.Key)
		}
	}
	for name, p := range map[string]*metapb.Plan{
		"of the cluster": {Config: []*metapb.Setting{{Key: "rest.port", Value: "1"}}},
		"misspelt":       {Defaults: []*metapb.Setting{{Key: "parallelism.defualt", Value: "1"}}},
	} {
		if _, err := ResolveJob(p, nil, cluster); err == nil {
			t.Errorf("a setting %s was accepted from a program", name)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("a setting %s: more than one line: %v", name, err)
		}
	}
	flags, _ := Flags([]string{"rest.port=1"})
	if _, _, err := CheckTyped(flags); err == nil || !strings.Contains(err.Error(), "is the cluster's") {
		t.Errorf("-D of a cluster setting: %v", err)
	}
}

func TestFailureRate(t *testing.T) {
	l, err := Flags([]string{"restart-strategy=failurerate", "restart-strategy.failure-rate.max-failures-per-interval=7", "restart-strategy.failure-rate.failure-rate-interval=2 min", "restart-strategy.failure-rate.delay=3 s"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := Resolve(l)
	if err != nil {
		t.Fatal(err)
	}
	if p := e.Job().Restart; p.Kind != job.FailureRate || p.Failures != 7 || p.Interval != 2*time.Minute || p.Delay != 3*time.Second {
		t.Errorf("%+v", p)
	}
}

func TestExplain(t *testing.T) {
	got, err := Explain("state.backend")
	want := `setting state.backend is called state.backend.type now
state.backend.type
  Where keyed state lives: all in memory (heap; also hashmap), or in memory with what is cold on disk (pebble; also rocksdb).
  type:        pebble|heap
  default:     pebble
  scope:       job
  environment: WEIR_STATE_BACKEND_TYPE
  older names: state.backend
`
	if err != nil || got != want {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
}

func TestSystemMemory(t *testing.T) {
	write := func(root, name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing known":     {nil, fallbackMemory},
		"host":              {map[string]string{"proc/meminfo": "MemFree: 1 kB\nMemTotal:       2048 kB\n"}, 2 << 20},
		"cgroup 2, no max":  {map[string]string{"proc/meminfo": "MemTotal: 2048 kB\n", "sys/fs/cgroup/memory.max": "max\n"}, 2 << 20},
		"cgroup 2, parents": {map[string]string{"proc/meminfo": "MemTotal: 2048 kB\n", "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "1000000\n", "sys/fs/cgroup/a/b/memory.max": "max\n"}, 1000000},
		"cgroup 1":          {map[string]string{"proc/meminfo": "MemTotal: 2048 kB\n", "proc/self/cgroup": "4:memory:/x\n3:cpu:/y\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "500000\n"}, 500000},
		"cgroup 1, no max":  {map[string]string{"proc/meminfo": "MemTotal: 2048 kB\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 2 << 20},
	} {
		root := t.TempDir()
		for path, text := range c.files {
			write(root, path, text)
		}
		if got := systemMemory(root); got != c.want {
			t.Errorf("%s: %d bytes, want %d", name, got, c.want)
		}
	}
}
