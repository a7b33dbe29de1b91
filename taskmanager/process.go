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

	"github.com/weirstream/weir/proto/weirpb"
)

// envMemory is Go's own: the bytes that its collector keeps to.
const envMemory = "GOMEMLIMIT"

// ProcessLauncher runs workers as processes of their own process group, which die
// with the agent.
type ProcessLauncher struct {
	fork chan func()
	once sync.Once
}

// NeedsBinary implements Launcher.
func (l *ProcessLauncher) NeedsBinary() bool { return true }

// onForkThread runs f on the one thread that forks: Pdeathsig fires when the
// forking thread ends, and Go ends threads as it likes, but never a locked one
// whose goroutine lives.
func (l *ProcessLauncher) onForkThread(f func()) {
	l.once.Do(func() {
		l.fork = make(chan func())
		go func() {
			runtime.LockOSThread()
			for f := range l.fork {
				f()
			}
		}()
	})
	done := make(chan struct{})
	l.fork <- func() { f(); close(done) }
	<-done
}

// Close ends the forking thread, and with it every worker that still runs.
func (l *ProcessLauncher) Close() {
	if l.fork != nil {
		close(l.fork)
	}
}

// memoryLimitShare is the part of a worker's memory that Go's collector is told to
// keep to; the rest is slack for what it does not see.
const memoryLimitShare = 0.9

// Launch implements Launcher.
func (l *ProcessLauncher) Launch(s WorkerSpec) (Process, error) {
	log, err := openRotatedLog(filepath.Join(s.Logs, fmt.Sprintf("worker-%d.log", s.WorkerID)))
	if err != nil {
		return nil, err
	}
	p := &workerProcess{log: log, tail: &tailBuffer{}}
	cmd := exec.Command(s.Binary, s.Args...)
	cmd.Dir = s.Dir
	cmd.Env = append(inheritedEnv(),
		weirpb.EnvWorkerID+"="+strconv.FormatUint(s.WorkerID, 10), weirpb.EnvWorkerJob+"="+s.JobID, weirpb.EnvWorker+"="+s.Agent)
	if s.Memory > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", envMemory, int64(float64(s.Memory)*memoryLimitShare)))
	}
	for _, kv := range s.Params {
		cmd.Env = append(cmd.Env, kv.Key+"="+kv.Value)
	}
	cmd.Stdout = log
	cmd.Stderr = io.MultiWriter(log, p.tail)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	l.onForkThread(func() { err = cmd.Start() })
	if err != nil {
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
}

// PID implements Process.
func (p *workerProcess) PID() int { return p.cmd.Process.Pid }

// Wait implements Process.
func (p *workerProcess) Wait() Exit {
	err := p.cmd.Wait()
	// Whatever the worker forked in its group goes with it.
	p.signal(syscall.SIGKILL)
	reason := "worker ended with exit code 0 before its job did"
	if err != nil {
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
func (p *workerProcess) signal(s syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, s) }

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
