package cluster

import (
	"debug/elf"
	encoding "encoding/binary"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/proto/weirpb"
)

// TestMistakes: what can't work is refused in one line, and the cluster is none the worse.
func TestMistakes(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{taskManagers: 1})
	dir := folder(t)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := write("text", "no program\n")
	for _, m := range []struct {
		args  string
		code  int
		words string // separated by |
	}{
		{"run --paralelism 2 TROUBLE", 2, "--paralelism|did you mean --parallelism?"},
		{"run -p two TROUBLE", 2, "-p two is not a whole number"},
		{"run -D state.backend.typ=heap TROUBLE", 2, "state.backend.typ|did you mean state.backend.type?"},
		{"run -D state.backend.type=rocks TROUBLE", 2, "state.backend.type|rocks"},
		{"run -D execution.checkpointing.interval=soon TROUBLE", 2, "execution.checkpointing.interval|soon"},
		{"run TROUBLE -- --mod panic", 2, "unknown flag --mod; did you mean --mode?"},
		{"run TROUBLE -- --keys many", 2, "keys|many"},
		{"run " + text, 2, "is a text file, not a Linux program|weir run ./PKG"},
		{"run " + copyOf(t, "/bin/true", dir), 2, "is not a Weir job"},
		{"run " + otherArch(t, dir), 2, "is built for " + otherGOARCH() + "|GOARCH=" + runtime.GOARCH},
		{"run ./integration/nothing", 2, "no such file"},
		{"run ./internal/config", 2, "is no program|package main"},
		{"run TROUBLE -- -mode planpanic", 1, "build panicked: this plan can't be made"},
		{"run TROUBLE -- -mode twice", 1, `uid "numbers" is used twice`},
		{"run TROUBLE -- -mode unstable", 7, "step-"},
		{"run TROUBLE -- -n 2000 -output " + text, 7, text},
		{"run WORDCOUNT -- --input " + dir + "/nothing --output " + dir + "/out", 7, dir + "/nothing|no such file"},
		{"run -D execution.checkpointing.dir=" + text + "/x TROUBLE", 2, "execution.checkpointing.dir " + text + "/x can't be used|not a directory|-D execution.checkpointing.dir="},
		{"run WEIR", 2, "is the weir command, and no Weir job|weir run PKG"},
	} {
		t.Run(m.args, func(t *testing.T) {
			args := strings.Fields(m.args)
			for i, a := range args {
				switch a {
				case "TROUBLE":
					args[i] = trouble(t)
				case "WORDCOUNT":
					args[i] = wordcount(t)
				case "WEIR":
					args[i] = weir(t)
				}
			}
			complaint(t, c.run(args...), m.code, strings.Split(m.words, "|")...)
		})
	}
	for _, j := range c.list() {
		if !api.Terminal(j.State) {
			t.Errorf("job %q is %s", j.Name, j.State)
		}
	}
	if s := c.must("run", trouble(t), "--", "-n", "2000"); !strings.Contains(s.stderr, "FINISHED") {
		t.Errorf("a job after all that: %v", s)
	}
}

func copyOf(t *testing.T, path, dir string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, filepath.Base(path))
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return to
}

func otherGOARCH() string {
	if runtime.GOARCH == "arm64" {
		return "amd64"
	}
	return "arm64"
}

// otherArch is a job for machines of another kind: this machine's, with another e_machine
// in its ELF header. To build one takes a minute.
func otherArch(t *testing.T, dir string) string {
	t.Helper()
	const at = 18 // e_machine, little endian
	machine := map[string]elf.Machine{"arm64": elf.EM_AARCH64, "amd64": elf.EM_X86_64}[otherGOARCH()]
	b, err := os.ReadFile(trouble(t))
	if err != nil {
		t.Fatal(err)
	}
	encoding.LittleEndian.PutUint16(b[at:], uint16(machine))
	out := filepath.Join(dir, "other")
	if err := os.WriteFile(out, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDaemonMistakes: daemons that can't start say why.
func TestDaemonMistakes(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{taskManagers: 1})
	free := freePorts(t, 2)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	own := filepath.Join(c.dir, "own")
	for _, m := range []struct {
		args, words string
		code        int
	}{
		{"jobmanager --rest FREE0 --rpc FREE1 --data " + filepath.Join(c.dir, "jobmanager-0"), "is in use by another jobmanager|--data", 4},
		{"taskmanager --jobmanager FREE1 --data " + filepath.Join(c.dir, "taskmanager-0"), "is in use by another taskmanager|--data", 4},
		{"jobmanager --rest BUSY --rpc FREE1 --data OWN", "BUSY is in use|--rest", 4},
		{"jobmanager --rest FREE0 --rpc BUSY --data OWN", "BUSY is in use|--rpc", 4},
		{"jobmanager --rest 0.0.0.0:0 --rpc FREE1 --data OWN", "0.0.0.0|TLS and a token", 2},
		{"jobmanager --rest FREE0 --rpc 0.0.0.0:0 --data OWN", "0.0.0.0|--insecure-no-auth", 2},
		{"taskmanager --jobmanager FREE1 --host 0.0.0.0 --data OWN", "0.0.0.0|--insecure-no-auth", 2},
		{"jobmanager --rest FREE0 --rpc FREE1 --data /proc/none", "/proc/none", 1},
		{"jobmanager --rst FREE0", "did you mean --rest?", 2},
		{"taskmanager --slots none --data OWN", "--slots", 2},
		{"jobmanager --config OWN/none", "OWN/none", 2},
	} {
		t.Run(m.args, func(t *testing.T) {
			fill := strings.NewReplacer("FREE0", free[0], "FREE1", free[1], "BUSY", busy.Addr().String(), "OWN", own).Replace
			complaint(t, begin(t, strings.Fields(fill(m.args))...).await(), m.code, strings.Split(fill(m.words), "|")...)
		})
	}
	c.must("run", trouble(t), "--", "-n", "2000") // those whose place was wanted are well
}

// TestOtherVersion: a cluster of another minor version gets no job.
func TestOtherVersion(t *testing.T) {
	t.Parallel()
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		_ = json.NewEncoder(w).Encode(api.Overview{WeirVersion: "0.0.9", GOARCH: runtime.GOARCH}) // an answer that is cut off fails below
	}))
	defer old.Close()
	s := begin(t, "-m", strings.TrimPrefix(old.URL, "http://"), "run", trouble(t)).await()
	complaint(t, s, 5, "the cluster runs 0.0.9")
}

// TestOtherProtocol: a TaskManager of another version is told so, once and for all.
func TestOtherProtocol(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{})
	conn, err := grpc.NewClient(c.rpc[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := weirpb.NewJobManagerServiceClient(conn).Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hello := &weirpb.RegisterTaskManager{ProtocolVersion: 99, Version: "9.9.0", TaskmanagerId: "tm-x", ClusterId: "weir", Host: "127.0.0.1", Slots: 1, Local: true}
	if err := stream.Send(&weirpb.FromTaskManager{Message: &weirpb.FromTaskManager_Register{Register: hello}}); err != nil {
		t.Fatal(err)
	}
	// One of another cluster says so in its log, with what to type.
	other := c.process("other", []string{"taskmanager", "--jobmanager", c.rpc[0], "--cluster-id", "other", "--data", filepath.Join(c.dir, "other")})
	c.tasks = append(c.tasks, other)
	other.start(t)
	until(t, "the TaskManager of another cluster is told what is wrong", func() bool { return strings.Contains(other.text(), "start it with --cluster-id weir") })
	m, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if r := m.GetRefused(); !r.GetFinal() || !strings.Contains(r.GetReason(), "(9.9.0) speaks control protocol 99") {
		t.Errorf("it is answered %v", m)
	}
}

// TestStubborn: a function that does not hear of the cancel loses its worker.
func TestStubborn(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{taskManagers: 1})
	id := c.submit("-D", "execution.checkpointing.interval=100ms", trouble(t), "--", "-mode", "stubborn", "-rate", "2000")
	j := c.jobUntil(id, "has a checkpoint", hasCheckpoint(1))
	pid := worker(t, j)
	// Number 1000 comes after half a second. From then on no checkpoint completes.
	c.jobUntil(id, "has stopped to take checkpoints", func(j *api.Job) bool {
		h := j.Checkpoints.History
		return len(h) > 0 && h[0].Status == api.CheckpointInProgress && time.Since(h[0].TriggeredAt) > time.Second
	})
	if s := c.must("cancel", id, "--timeout", "50s"); !strings.Contains(s.stderr, "CANCELED") {
		t.Errorf("cancel: %v", s)
	}
	until(t, "the worker is gone", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
	until(t, "the slot is free", func() bool {
		o, err := c.client.Overview(t.Context())
		return err == nil && o.SlotsAvailable == 1
	})
	if !strings.Contains(c.tasks[0].text(), "kill") {
		t.Errorf("the TaskManager does not say that it killed a worker:\n%s", c.tasks[0].text())
	}
	c.must("run", trouble(t), "--", "-n", "2000") // on the same TaskManager
}

// needsRoot skips a test that mounts a file system.
func needsRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount the small file system that is to be full")
	}
	if _, err := exec.LookPath("mount"); err != nil {
		t.Skip("mount is missing")
	}
}
