package taskmanager

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/weirstream/weir/proto/weirpb"
)

// envMemory is Go's own: the bytes that its collector keeps to.
const envMemory = "GOMEMLIMIT"

// ProcessLauncher runs workers as processes of their own process group, which die
// with the agent: the kernel sees to it on Linux; elsewhere a worker ends by itself when
// the agent's control stream does, which one whose main thread is stuck may not.
type ProcessLauncher struct {
	mu     sync.Mutex
	fork   chan func() // nil before the first launch
	closed bool
}

// NeedsBinary implements Launcher.
func (l *ProcessLauncher) NeedsBinary() bool { return true }

// onForkThread runs f on the one thread that forks: Pdeathsig fires when the
// forking thread ends, and Go ends threads as it likes, but never a locked one
// whose goroutine lives.
func (l *ProcessLauncher) onForkThread(f func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errors.New("the launcher is closed")
	}
	if l.fork == nil {
		l.fork = make(chan func())
		go forkThread(l.fork)
	}
	done := make(chan error)
	l.fork <- func() { done <- f() }
	return <-done
}

// forkThread runs what comes on one thread that ends with it. The main thread never
// ends before the process does: held here until another goroutine has its own, it can't
// be that one's.
func forkThread(work <-chan func()) {
	runtime.LockOSThread()
	if onMainThread() {
		begun := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(begun)
			forkThread(work)
		}()
		<-begun
		runtime.UnlockOSThread()
		return
	}
	// Never unlocked: the thread ends with this goroutine.
	for f := range work {
		f()
	}
}

// Close ends the forking thread, and with it every worker that still runs. Launch
// fails from here on.
func (l *ProcessLauncher) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fork != nil && !l.closed {
		close(l.fork)
	}
	l.closed = true
}

// pipeGrace is how long the output of an ended worker is waited for: something that
// it forked out of its group may hold the pipe for ever.
const pipeGrace = time.Second

// GoMemoryLimit is the part of a worker's memory that Go's collector is told to keep to;
// the rest is slack for what it does not see.
func GoMemoryLimit(memory int64) int64 { return memory * 9 / 10 }

// Launch implements Launcher.
func (l *ProcessLauncher) Launch(s WorkerSpec) (Process, error) {
	log, err := openRotatedLog(filepath.Join(s.Logs, fmt.Sprintf("worker-%d.log", s.WorkerID)))
	if err != nil {
		return nil, err
	}
	p := &workerProcess{log: log, tail: &tailBuffer{}}
	cmd := exec.Command(s.Binary, s.Args...)
	cmd.Dir = s.Dir
	cmd.Env = inheritedEnv()
	for _, kv := range s.Params { // before ours: a program can't read, and so set, what the agent says
		cmd.Env = append(cmd.Env, kv.Key+"="+kv.Value)
	}
	cmd.Env = append(cmd.Env,
		weirpb.EnvWorkerID+"="+strconv.FormatUint(s.WorkerID, 10), weirpb.EnvWorkerJob+"="+s.JobID, weirpb.EnvWorker+"="+s.Agent, weirpb.EnvWorkerHost+"="+s.Host)
	if s.Memory > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", envMemory, GoMemoryLimit(s.Memory)))
	}
	cmd.WaitDelay = pipeGrace
	cmd.Stdout = log
	cmd.Stderr = io.MultiWriter(log, p.tail)
	cmd.SysProcAttr = ofOwnGroup()
	if err := l.onForkThread(cmd.Start); err != nil {
		return nil, errors.Join(startError(s.Binary, err), log.Close())
	}
	p.cmd = cmd
	return p, nil
}

// inheritedEnv is what a worker gets of the agent's environment: nothing of
// Weir's own, so that no setting of the agent leaks into a job.
func inheritedEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "WEIR_") && !strings.HasPrefix(kv, envMemory+"=") {
			env = append(env, kv)
		}
	}
	return env
}

func startError(binary string, err error) error {
	if errors.Is(err, syscall.ENOEXEC) {
		return fmt.Errorf("job binary %s is not a program of this machine (%s/%s): %w", filepath.Base(binary), runtime.GOOS, runtime.GOARCH, err)
	}
	return fmt.Errorf("start job binary %s: %w", filepath.Base(binary), err)
}

type workerProcess struct {
	cmd  *exec.Cmd
	log  *rotatedLog
	tail *tailBuffer

	mu     sync.Mutex
	reaped bool // its id may be somebody else's
}

// PID implements Process.
func (p *workerProcess) PID() int { return p.cmd.Process.Pid }

// Wait implements Process.
func (p *workerProcess) Wait() Exit {
	// Its end is awaited without taking it, so that its id, and its group's, are still
	// its own; then whatever it forked in its group goes with it, which closes the pipes.
	awaitExit(p.PID())
	p.mu.Lock()
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL) // nobody left is what was wanted
	p.reaped = true
	p.mu.Unlock()
	err := p.cmd.Wait()
	reason := "worker ended with exit code 0 before its job did"
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		reason = fmt.Sprintf("worker ended: %v", err)
	}
	if last := p.tail.lastLines(5); last != "" {
		reason += "; its last words: " + last
	}
	if err := p.log.Close(); err != nil {
		reason += fmt.Sprintf("; close its log: %v", err)
	}
	return Exit{Reason: reason}
}

// Terminate implements Process.
func (p *workerProcess) Terminate() { p.signal(syscall.SIGTERM) }

// Kill implements Process.
func (p *workerProcess) Kill() { p.signal(syscall.SIGKILL) }

// signal reaches the worker's whole group. It may be gone already, which is what
// was wanted.
func (p *workerProcess) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = syscall.Kill(-p.PID(), s)
	}
}

// tailBuffer keeps the end of what is written to it.
type tailBuffer struct {
	mu sync.Mutex
	b  []byte
}

// tailSize is how much of a worker's stderr its exit report is cut from.
const tailSize = 4096

// Write implements io.Writer.
func (t *tailBuffer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > 2*tailSize {
		t.b = append(t.b[:0], t.b[len(t.b)-tailSize:]...)
	}
	return len(p), nil
}

func (t *tailBuffer) lastLines(n int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(t.b), []byte("\n"))
	lines = lines[max(0, len(lines)-n):]
	return string(bytes.Join(lines, []byte(" | ")))
}
