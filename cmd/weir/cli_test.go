package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/connectors/generator"
)

var update = flag.Bool("update", false, "write testdata")

// envProgram makes the test binary a program that `weir run` is given.
const envProgram = "WEIR_TEST_PROGRAM"

func TestMain(m *testing.M) {
	source := func(e *weir.Env, uid string) *weir.Stream[int64] {
		return e.From(uid, generator.Range(10, func(i uint64) int64 { return int64(i) }))
	}
	switch os.Getenv(envProgram) {
	case "job":
		weir.Main(func(e *weir.Env) error {
			fs := flag.NewFlagSet("job", flag.ContinueOnError)
			n := fs.Int("parallelism", 1, "number of `subtasks`")
			if err := e.ParseFlags(fs); err != nil {
				return err
			}
			fs.Visit(func(*flag.Flag) { e.Set("parallelism.default", fmt.Sprint(*n)) })
			e.SetName("fresh")
			source(e, "numbers").Print()
			return nil
		})
	case "stateful":
		weir.Main(statefulV2)
	case "twice":
		weir.Main(func(e *weir.Env) error {
			source(e, "numbers").Print()
			source(e, "numbers").Print()
			return nil
		})
	case "setting":
		weir.Main(func(e *weir.Env) error {
			e.Set("parallelism.defualt", "1")
			source(e, "numbers").Print()
			return nil
		})
	case "buildpanic":
		weir.Main(func(*weir.Env) error { panic("in build") })
	case "panic":
		panic("before main")
	case "silent":
		os.Exit(0)
	case "usage":
		fmt.Fprintln(os.Stderr, "error: --rate is missing")
		os.Exit(2)
	}
	os.Exit(m.Run())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

func TestHelp(t *testing.T) {
	var all strings.Builder
	for _, verb := range []string{"", "run", "list", "describe", "wait", "savepoint", "checkpoint", "stop", "cancel", "rescale", "check",
		"snapshot", "snapshot list", "snapshot describe", "snapshot verify", "snapshot diff", "snapshot state", "snapshot copy", "snapshot delete", "jobmanager", "taskmanager", "demo", "config", "config explain", "config list", "config lint", "cluster", "cluster leader", "version"} {
		args := append(strings.Fields(verb), "--help")
		c := weirCommand(t, nil, nil, args...)
		if c.exit != 0 || c.stderr != "" {
			t.Errorf("weir %s: %v", strings.Join(args, " "), c)
		}
		fmt.Fprintf(&all, "$ weir %s\n%s\n", strings.Join(args, " "), c.stdout)
	}
	golden(t, "help.txt", all.String())
}

// The output of each form is held: JSON, JSON lines, YAML and names are stable.
func TestOutput(t *testing.T) {
	for name, args := range map[string]string{
		"list":           "list",
		"list_wide":      "list -o wide",
		"list_running":   "list -r -o name",
		"list_jsonl":     "list -o jsonl",
		"list_json":      "-o json list -a",
		"describe":       "describe orders",
		"describe_wide":  "describe orders -o wide",
		"describe_json":  "describe words -o json",
		"describe_yaml":  "describe words -o yaml",
		"describe_ended": "describe " + finishedID,
		"describe_begin": "describe 0123 -o name",
		"describe_chkpt": "describe orders --checkpoint 4",
		"describe_nochk": "describe orders --checkpoint 9",
		"config_explain": "config explain state.backend",
		"leader":         "cluster leader",
		"leader_json":    "cluster leader -o json",
		"wait_finished":  "wait words",
		"wait_json":      "wait words --for=finished -o json",
		"wait_failed":    "wait broken",
		"wait_checkpnt":  "wait orders --for checkpoint",
		"cancel_ended":   "cancel words",
		"empty":          "list -r -o json",
	} {
		m := newModel()
		if name == "empty" {
			m.jobs = nil
		}
		golden(t, name+".txt", "$ weir "+args+"\n"+weirCommand(t, m, nil, strings.Fields(args)...).String())
	}
}

// Each mistake gives what, why, what to type, a code and its exit code.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("empty", "")
	write("script", "#!/bin/sh\n")
	write("text", "hello\n")
	write("noise", "\x00\x01\x02")
	write("conf.yaml", "rest.prot: 1\n")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	head := []byte(string(self[:4096])) // of this program, turned into another machine's, and truncated
	write("cut", string(head[:20]))
	other := append([]byte{}, self...)
	other[18], other[19] = 0xf3, 0 // e_machine: RISC-V
	write("riscv", string(other))
	var all strings.Builder
	for _, args := range []string{
		"lst", "frobnicate", "list x", "list --ouput json", "list -x", "list -o jsno", "list -outputs json", "describe", "describe nope", "describe a b",
		"wait orders --for=finish", "wait orders --timeout 5", "wait orders --for=running --timeout 20ms", "wait nope", "cancel nope",
		"run", "run a b", "run --workload x", "run -p two DIR/text", "run -D parallelism.defualt=1 DIR/text", "run -D rest.port=1 DIR/text",
		"run -D parallelism.default=0 DIR/text", "run -p 1 -D parallelism.default=2 DIR/text", "run -D x DIR/text", "run -s /sp DIR/text", "run -c Main DIR/text", "run -restoreMode CLAIM DIR/text",
		"run -n DIR/text", "run -s /sp -restoreMode own DIR/text", "run -s /sp --restore-mode legcy DIR/text", "run -s /sp --map-uid x DIR/text", "run -s /sp --map-uid a=x --map-uid a=y DIR/text",
		"savepoint", "savepoint orders --type natve", "savepoint orders --type rdb", "savepoint -d /sp x", "savepoint orders /a /b", "savepoint -yid 1 orders", "savepoint orders --timeout 5",
		"stop", "stop a b", "stop nope", "cancel a b -s", "cancel -s", "checkpoint", "checkpoint orders now", "rescale", "rescale orders", "rescale orders -p none", "rescale orders count", "rescale orders count=0", "rescale orders count=1 count=2",
		"snapshot verfy /sp", "snapshot describe", "snapshot describe DIR/none", "snapshot verify DIR", "snapshot list DIR/none", "snapshot diff DIR", "snapshot copy DIR/none DIR/to", "snapshot copy /sp /to --type rdb",
		"snapshot delete DIR", "snapshot delete DIR --yes --offline",
		"run DIR/nothing", "run DIR/empty", "run DIR/script", "run DIR/text", "run DIR/noise", "run DIR/cut", "run DIR/riscv", "run /bin/true", "run cli_test.go", "run /dev/null",
		"-m nowhere list", "list -m 127.0.0.1:8081/x",
		"jobmanager --rest 8081", "jobmanager --rest 0.0.0.0:8081", "jobmanager --rpc 10.1.2.3:6123", "jobmanager -D rest.port=many", "jobmanager --config DIR/conf.yaml", "jobmanager --config DIR/nothing",
		"jobmanager -D taskmanager.memory.task.heap.size=1g", "jobmanager -D rest.token-file=/nothing", "jobmanager -D rest.tls.cert-file=/nothing", "jobmanager --data /proc/x --rest 127.0.0.1:0 --rpc 127.0.0.1:0",
		"taskmanager --slots 0", "taskmanager --slots many", "taskmanager --host 0.0.0.0", "taskmanager --jobmanager here",
		"demo --seconds 1", "demo --sabotage all", "config explain parallelism.defualt", "config explain", "config lint DIR/conf.yaml",
	} {
		typed := strings.Fields(strings.ReplaceAll(args, "DIR", dir))
		c := weirCommand(t, newModel(), nil, typed...)
		if c.exit == 0 || c.stdout != "" || !strings.HasPrefix(c.stderr, "error: ") && c.exit != exitTimeout {
			t.Errorf("weir %s: %v", args, c)
		}
		fmt.Fprintf(&all, "$ weir %s\n%s", args, strings.NewReplacer(dir, "DIR", runtime.GOARCH, "ARCH").Replace(c.stderr))
	}
	golden(t, "mistakes.txt", all.String())
	if c := weirCommand(t, newModel(), []string{"WEIR_REST_PROT=1"}, "jobmanager"); c.exit != exitUsage || !strings.Contains(c.stderr, "did you mean WEIR_REST_PORT?") {
		t.Errorf("misspelt variable: %v", c)
	}
	if c := weirCommand(t, nil, nil, "list"); c.exit != exitUnavailable || !strings.Contains(c.stderr, "no JobManager answers at ADDRESS") {
		t.Errorf("no cluster: %v", c)
	}
	old := newModel()
	old.version = "0.0.9"
	if c := weirCommand(t, old, []string{envProgram + "=job"}, "run", "/proc/self/exe"); c.exit != exitIncompatible || !strings.Contains(c.stderr, "the cluster runs 0.0.9") {
		t.Errorf("another version: %v", c)
	}
}

// duration is what a test can't know.
var duration = regexp.MustCompile(`after [0-9.]+m?s`)

// place is where a program panics, in this file.
var place = regexp.MustCompile(`[^ ]*/cmd/weir/cli_test.go:[0-9]+`)

// weir run with this test binary as the program.
func TestRun(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, c := range []struct{ program, args string }{
		{"job", "run -detached -p 3 -D state.backend=rocksdb EXE -- -parallelism 2"},
		{"job", "run EXE"},
		{"job", "run --dry-run EXE"},
		{"job", "run EXE -- -h"},
		{"job", "run EXE -- --paralelism 2"},
		{"twice", "run EXE"},
		{"setting", "run EXE"},
		{"buildpanic", "run EXE"},
		{"panic", "run EXE"},
		{"silent", "run EXE"},
		{"usage", "run EXE"},
	} {
		m := newModel()
		m.script["fresh"] = []func(*api.Job){
			state(api.StateRunning),
			func(j *api.Job) {
				j.State, j.LastFailure = api.StateRestarting, &api.Failure{Time: at(5), Task: "numbers[0]", Cause: "killed"}
			},
			func(j *api.Job) {
				j.State, j.Restarts, j.LastCheckpoint = api.StateRunning, 1, &api.Checkpoint{ID: 1, DurationMS: 9, Bytes: 2048}
			},
			func(j *api.Job) {
				j.State, j.DurationMS, j.Result = api.StateFinished, 1500, &api.Result{DurationMS: 1500, ClosingLine: "n=10 ms=1500"}
			},
		}
		r := weirCommand(t, m, []string{envProgram + "=" + c.program}, strings.Fields(strings.ReplaceAll(c.args, "EXE", exe))...)
		text := r.String()
		if s := m.submitted; s != nil {
			text = strings.ReplaceAll(text, s.ID, "JOBID")
			text += fmt.Sprintf("-- submitted --\nsettings %v\nbinary complete: %v\n", s.Settings, int64(m.binary) == s.BinarySize && m.binary > 0)
		}
		text = place.ReplaceAllString(text, "cli_test.go:LINE")
		fmt.Fprintf(&all, "$ weir %s   # %s\n%s\n", c.args, c.program, strings.ReplaceAll(text, exe, "EXE"))
	}
	golden(t, "run.txt", all.String())
}

func TestCancel(t *testing.T) {
	m := newModel()
	c := weirCommand(t, m, nil, "cancel", "orders")
	if c.exit != 0 || !strings.Contains(c.stderr, "CANCELED after 9.0s, 1 restart\ncheckpoint 4 is kept: /data/chk-4\n") || c.stdout != "" {
		t.Errorf("cancel: %v", c)
	}
	if c := weirCommand(t, newModel(), nil, "cancel", "-d", "orders"); c.exit != 0 || c.stderr != "job \"orders\" is being cancelled\n" {
		t.Errorf("cancel -d: %v", c)
	}
}

func TestWait(t *testing.T) {
	m := newModel()
	m.script[runningID] = []func(*api.Job){unchanged, unchanged, func(j *api.Job) { j.Vertices[0].Subtasks[1].State = "RUNNING" }}
	if c := weirCommand(t, m, nil, "wait", "orders", "--for=running", "--timeout", "1 min", "-o", "name"); c.exit != 0 || c.stdout != runningID+"\n" {
		t.Errorf("wait --for=running: %v", c)
	}
	m = newModel()
	m.script[runningID] = []func(*api.Job){unchanged, state(api.StateCanceled)}
	if c := weirCommand(t, m, nil, "wait", "orders"); c.exit != exitJob || !strings.Contains(c.stderr, `job "orders" is CANCELED`) {
		t.Errorf("wait for one that is cancelled: %v", c)
	}
}

func unchanged(*api.Job) {}

func TestWaitsForSlots(t *testing.T) {
	var said []string
	n := news{say: func(line string) { said = append(said, line) }}
	j := &api.Job{State: api.StateCreated, Slots: &api.SlotsWanted{Wanted: 3, Free: 1}}
	for _, s := range []int{0, 2, 3, 9} {
		n.tell(j, at(s))
	}
	j.Slots.Free = 2
	n.tell(j, at(10))
	j.Slots = nil
	n.tell(j, at(11))
	j.Slots = &api.SlotsWanted{Wanted: 3, Free: 2} // lost again: for a moment
	n.tell(j, at(12))
	if len(said) != 3 || said[0] != "CREATED" || !strings.HasPrefix(said[1], "waiting for 3 slots, 1 free;") || !strings.HasPrefix(said[2], "waiting for 3 slots, 2 free;") {
		t.Errorf("told %q", said)
	}
}

// TestDescribeTrouble: a job that lacks slots and has failed before says so.
func TestDescribeTrouble(t *testing.T) {
	m := newModel()
	j := m.jobs[0]
	j.State, j.Slots = api.StateRestarting, &api.SlotsWanted{Wanted: 3, Free: 1}
	j.Failures = append(j.Failures, api.Failure{Time: at(1), Cause: "the job cannot be taken over yet"})
	golden(t, "describe_trouble.txt", weirCommand(t, m, nil, "describe", "orders").String())
}

func TestRewrite(t *testing.T) {
	for in, want := range map[string]string{
		"run -detached x":             "run --detached x",
		"run -restoreMode=CLAIM x":    "run --restore-mode=CLAIM x",
		"run -s /sp -claimMode x y":   "run -s /sp --restore-mode x y",
		"-m h:1 cancel -s":            "-m h:1 cancel --withSavepoint=",
		"cancel j -s -m h:1":          "cancel j --withSavepoint= -m h:1",
		"cancel -s /d j":              "cancel -s /d j",
		"stop j --savepointPath":      "stop j --savepointPath=",
		"stop j -p -drain":            "stop j --savepointPath= --drain",
		"run -s -n x":                 "run -s -n x",
		"run x -- -detached":          "run x -- -detached",
		"-m h:1 run -parallelism 3 x": "-m h:1 run --parallelism 3 x",
	} {
		if got := strings.Join(rewrite(strings.Fields(in)), " "); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestDataFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	path, lock, err := dataFolder(dir, "jobmanager")
	if err != nil || path != dir {
		t.Fatalf("%s, %v", path, err)
	}
	if _, _, err := dataFolder(dir, "jobmanager"); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("is in use by another jobmanager, process %d", os.Getpid())) {
		t.Errorf("second: %v", err)
	}
	_, other, err := dataFolder(dir, "taskmanager")
	if err != nil {
		t.Errorf("the other daemon: %v", err)
	}
	other.Close()
	lock.Close()
	if _, lock, err = dataFolder(dir, "jobmanager"); err != nil {
		t.Errorf("after the first has ended: %v", err)
	}
	lock.Close()
}
