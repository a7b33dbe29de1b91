package demo

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// respawnDelay is how long a killed process stays away.
const respawnDelay = 2 * time.Second

// process is one child of the demo, started again whenever it ends.
type process struct {
	name string
	args []string
	log  string

	mu      sync.Mutex
	cmd     *exec.Cmd // nil while it is away
	closing bool
	done    chan struct{} // closed when it will not be started again
}

// forker starts processes from one thread that stays: Pdeathsig is sent when the
// forking thread ends.
type forker struct{ work chan func() }

func newForker() *forker {
	f := &forker{make(chan func())}
	go func() {
		runtime.LockOSThread()
		for w := range f.work {
			w()
		}
	}()
	return f
}

func (f *forker) start(cmd *exec.Cmd) error {
	done := make(chan error)
	f.work <- func() { done <- cmd.Start() }
	return <-done
}

// run keeps the process running until close.
func (p *process) run(f *forker, exe string, failed func(error)) {
	defer close(p.done)
	for {
		log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			failed(fmt.Errorf("open log of %s: %w", p.name, err))
			return
		}
		cmd := exec.Command(exe, p.args...)
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = ofOwnGroup()
		p.mu.Lock()
		if p.closing {
			p.mu.Unlock()
			return
		}
		err = f.start(cmd)
		if err == nil {
			p.cmd = cmd
		}
		p.mu.Unlock()
		if err != nil {
			failed(errors.Join(fmt.Errorf("start %s: %w", p.name, err), log.Close()))
			return
		}
		err = cmd.Wait()
		_ = log.Close() // the child's own descriptor is what was written to
		p.mu.Lock()
		p.cmd = nil
		closing := p.closing
		p.mu.Unlock()
		if closing {
			return
		}
		if status, ok := errors.AsType[*exec.ExitError](err); err == nil || ok && status.Exited() {
			failed(fmt.Errorf("%s ended by itself (%v); see %s", p.name, err, p.log))
			return
		}
		time.Sleep(respawnDelay)
	}
}

// pid is the process id, 0 while it is away.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || p.cmd.Process == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// kill sends SIGKILL and reports whether there was a process to be killed.
func (p *process) kill() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil && p.cmd.Process.Kill() == nil
}

// close ends the process for good.
func (p *process) close() {
	p.mu.Lock()
	p.closing = true
	if p.cmd != nil {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may be gone already
	}
	p.mu.Unlock()
}

// freePorts finds ports that nobody listens on now.
func freePorts(n int) ([]string, error) {
	var ports []string
	var open []net.Listener
	defer func() {
		for _, l := range open {
			_ = l.Close() // found: it is ours to give up
		}
	}()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		open = append(open, l)
		ports = append(ports, l.Addr().String())
	}
	return ports, nil
}

// cluster is the demo's processes.
type cluster struct {
	dir      string
	forker   *forker
	managers []*process // JobManagers
	tasks    []*process // TaskManagers
	rest     []string   // addresses of the JobManagers
	failed   chan error
}

const (
	jobManagers  = 2
	taskManagers = 3
)

// startCluster starts the processes; etcd is the address of the demo's own.
func startCluster(exe, dir, etcd string, verbose bool) (*cluster, error) {
	ports, err := freePorts(2 * jobManagers)
	if err != nil {
		return nil, err
	}
	c := &cluster{dir: dir, forker: newForker(), failed: make(chan error, 16)}
	logs := filepath.Join(dir, "logs")
	if err := os.MkdirAll(logs, 0o700); err != nil {
		return nil, fmt.Errorf("make folder for logs: %w", err)
	}
	rpc := ""
	for i := range jobManagers {
		rest, listen := ports[2*i], ports[2*i+1]
		name := fmt.Sprintf("jobmanager-%d", i)
		c.rest = append(c.rest, rest)
		rpc += "," + listen
		c.managers = append(c.managers, &process{name: name, log: filepath.Join(logs, name+".log"), done: make(chan struct{}), args: []string{
			"jobmanager", "--rest", rest, "--rpc", listen, "--data", filepath.Join(dir, name), "--etcd", etcd, "--cluster-id", "demo",
			"-D", "high-availability.storageDir=" + filepath.Join(dir, "ha"),
		}})
	}
	for i := range taskManagers {
		name := fmt.Sprintf("taskmanager-%d", i)
		c.tasks = append(c.tasks, &process{name: name, log: filepath.Join(logs, name+".log"), done: make(chan struct{}), args: []string{
			"taskmanager", "--jobmanager", rpc[1:], "--slots", "1", "--data", filepath.Join(dir, name), "--cluster-id", "demo",
			"-D", "taskmanager.memory.process.size=512m",
		}})
	}
	for _, p := range c.all() {
		go p.run(c.forker, exe, func(err error) { c.failed <- err })
	}
	return c, nil
}

func (c *cluster) all() []*process { return append(append([]*process{}, c.managers...), c.tasks...) }

// close ends all processes and waits for them.
func (c *cluster) close() {
	for _, p := range c.all() {
		p.close()
	}
	for _, p := range c.all() {
		<-p.done
	}
	close(c.forker.work)
}
