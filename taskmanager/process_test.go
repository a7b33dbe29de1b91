package taskmanager

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
)

// testMode makes this test binary play a worker, or an agent.
const testMode = "TASKMANAGER_TEST_MODE"

// init: only while packages are initialised is this goroutine on the main thread for
// sure.
func init() {
	if os.Getenv(testMode) == "main-thread" {
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	switch mode, arg, _ := strings.Cut(os.Getenv(testMode), " "); mode {
	case "":
		os.Exit(m.Run())
	case "exit":
		code, _ := strconv.Atoi(arg)
		fmt.Fprintf(os.Stderr, "one\ntwo\nlast words\n")
		os.Exit(code)
	case "block":
		fmt.Println("ready")
		select {}
	case "ignore-term":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		select {}
	case "fork": // a child that holds the output and lives on
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), testMode+"=block")
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if err := child.Start(); err != nil {
			os.Exit(9)
		}
		fmt.Printf("child %d\n", child.Process.Pid)
		os.Exit(3)
	case "flood":
		line := strings.Repeat("x", 1023) + "\n"
		for range logFileSize / 1024 * 6 {
			fmt.Print(line)
		}
	case "env":
		for _, kv := range os.Environ() {
			fmt.Println(kv)
		}
	case "main-thread":
		work := make(chan func())
		forkThread(work) // returns: it goes on elsewhere
		on := make(chan int)
		work <- func() { on <- unix.Gettid() }
		fmt.Println(<-on == os.Getpid())
	case "agent":
		p, err := new(ProcessLauncher).Launch(WorkerSpec{Binary: os.Args[0], Logs: arg, Dir: arg, WorkerID: 1, Params: modeParam("block")})
		if err != nil {
			fmt.Println(err)
			os.Exit(9)
		}
		fmt.Println(p.PID())
		select {}
	}
	os.Exit(0)
}

func modeParam(s string) []*metapb.Setting { return []*metapb.Setting{{Key: testMode, Value: s}} }

// launch starts this binary as a worker in a mode.
func launch(t *testing.T, l *ProcessLauncher, mode string) (Process, string) {
	t.Helper()
	dir := t.TempDir()
	p, err := l.Launch(WorkerSpec{
		Binary: os.Args[0], Logs: dir, Dir: dir, JobID: "j", WorkerID: 1, Agent: "/agent", Memory: 1 << 30, Params: modeParam(mode),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, filepath.Join(dir, "worker-1.log")
}

func launcher(t *testing.T) *ProcessLauncher {
	l := new(ProcessLauncher)
	t.Cleanup(l.Close)
	return l
}

// awaitOutput waits until the log holds text.
func awaitOutput(t *testing.T, log, text string) string {
	t.Helper()
	for { // the test's own timeout bounds it
		b, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), text) {
			return string(b)
		}
	}
}

// awaitEnd waits until a process that is not our child is gone.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	n, err := 0, unix.EINTR
	for err == unix.EINTR {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20_000)
	}
	if n != 1 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		t.Fatalf("process %d still lives (%v)", pid, err)
	}
}

func TestProcessExit(t *testing.T) {
	l := launcher(t)
	for mode, want := range map[string]string{
		"exit 0": "worker ended with exit code 0 before its job did; its last words: one | two | last words",
		"exit 7": "worker ended: exit status 7; its last words: one | two | last words",
	} {
		p, _ := launch(t, l, mode)
		if got := p.Wait(); got.Reason != want || got.UserError {
			t.Errorf("%s: %+v, want %q", mode, got, want)
		}
		p.Kill() // of a process that is gone: must hit nobody
	}
}

func TestProcessTerminateAndKill(t *testing.T) {
	l := launcher(t)
	p, log := launch(t, l, "block")
	awaitOutput(t, log, "ready")
	p.Terminate()
	if got := p.Wait(); got.Reason != "worker ended: signal: terminated" {
		t.Errorf("terminated: %+v", got)
	}
	p, log = launch(t, l, "ignore-term")
	awaitOutput(t, log, "ready")
	p.Terminate()
	p.Kill()
	if got := p.Wait(); got.Reason != "worker ended: signal: killed" {
		t.Errorf("killed: %+v", got)
	}
}

// TestProcessGroup: what a worker forked goes with it, and its end is noticed
// although the child holds the worker's output.
func TestProcessGroup(t *testing.T) {
	p, log := launch(t, launcher(t), "fork")
	if got := p.Wait(); got.Reason != "worker ended: exit status 3" {
		t.Errorf("%+v", got)
	}
	var child int
	if _, err := fmt.Sscanf(awaitOutput(t, log, "child")[strings.Index(awaitOutput(t, log, "child"), "child"):], "child %d", &child); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, child)
}

// TestWorkerDiesWithAgent: Pdeathsig.
func TestWorkerDiesWithAgent(t *testing.T) {
	agent := exec.Command(os.Args[0])
	agent.Env = append(os.Environ(), testMode+"=agent "+t.TempDir())
	out, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the agent says %q", line)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the worker does not live: %v", err)
	}
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = agent.Wait() // killed
	awaitEnd(t, pid)
}

// TestCloseEndsWorkers: the end of the forking thread is the end of its workers.
func TestCloseEndsWorkers(t *testing.T) {
	l := new(ProcessLauncher)
	p, log := launch(t, l, "block")
	awaitOutput(t, log, "ready")
	l.Close()
	l.Close()
	if got := p.Wait(); got.Reason != "worker ended: signal: killed" {
		t.Errorf("%+v", got)
	}
	if _, err := l.Launch(WorkerSpec{Binary: os.Args[0], Logs: t.TempDir()}); err == nil {
		t.Error("a closed launcher launched a worker")
	}
}

// TestNotOnMainThread: the main thread outlives every goroutine, and with it the workers
// that were forked from it.
func TestNotOnMainThread(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), testMode+"=main-thread")
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "false\n" {
		t.Errorf("forks on the main thread: %s (%v), want false", out, err)
	}
}

func TestOutputIsBounded(t *testing.T) {
	p, log := launch(t, launcher(t), "flood")
	p.Wait()
	names, err := filepath.Glob(log + "*")
	if err != nil || len(names) != logFiles {
		t.Fatalf("log files %v (%v), want %d", names, err, logFiles)
	}
	for _, name := range names {
		if info, err := os.Stat(name); err != nil || info.Size() > logFileSize {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// TestLogsOfOldWorkersGo: a job that restarts for ever does not fill the disk.
func TestLogsOfOldWorkersGo(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 * logWorkers {
		path := filepath.Join(dir, fmt.Sprintf("worker-%d.log", i))
		l, err := openRotatedLog(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(int64(1000+i), 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != logWorkers {
		t.Fatalf("%d logs are left (%v), want %d: %v", len(left), err, logWorkers, left)
	}
	if _, err := os.Stat(filepath.Join(dir, fmt.Sprintf("worker-%d.log", 3*logWorkers-1))); err != nil {
		t.Errorf("the newest log is gone: %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("WEIR_TASKMANAGER_SECRET", "of the agent")
	p, log := launch(t, launcher(t), "env")
	p.Wait()
	got := awaitOutput(t, log, weirpb.EnvWorker)
	for _, want := range []string{weirpb.EnvWorker + "=/agent\n", weirpb.EnvWorkerID + "=1\n", weirpb.EnvWorkerJob + "=j\n", "GOMEMLIMIT=966367641\n", testMode + "=env\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in the worker's environment", want)
		}
	}
	if strings.Contains(got, "SECRET") {
		t.Error("the agent's own settings leak into the job")
	}
}

func TestNotAProgram(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "job")
	if err := os.WriteFile(path, []byte("not a program of any machine"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := launcher(t).Launch(WorkerSpec{Binary: path, Logs: dir, Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "is not a program of this machine") {
		t.Errorf("launch: %v", err)
	}
}
