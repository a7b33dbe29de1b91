package cluster

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirstream/weir/client"
	"github.com/weirstream/weir/coordinator/ha/etcdha"
	"github.com/weirstream/weir/internal/buildflags"
)

// patience bounds each wait for something that takes a second or two on a machine that
// has nothing else to do. No test asserts a time.
const patience = 60 * time.Second

// look is the pause between two looks at something that sends no event.
const look = 20 * time.Millisecond

var (
	root    string // of the repository
	scratch string // of this run: binaries, and the folders of tests
)

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := 1, error(nil)
	if root, err = filepath.Abs("../.."); err == nil {
		scratch, err = os.MkdirTemp("", "weir-cluster")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go forkThread()
	code = m.Run()
	os.RemoveAll(filepath.Join(scratch, "bin"))
	os.Remove(scratch) // folders of tests that failed stay
	os.Exit(code)
}

// builds are the binaries of this run, by package.
var builds sync.Map

// binary builds a main package of this module once, as `weir run PKG` does.
func binary(t testing.TB, pkg string) string {
	t.Helper()
	once, _ := builds.LoadOrStore(pkg, sync.OnceValues(func() (string, error) {
		out := filepath.Join(scratch, "bin", filepath.Base(pkg))
		cmd := buildflags.Command(pkg, out)
		cmd.Dir = root
		if text, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", pkg, err, text)
		}
		return out, nil
	}))
	path, err := once.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func weir(t testing.TB) string      { return binary(t, "./cmd/weir") }
func bench(t testing.TB) string     { return binary(t, "./bench") }
func trouble(t testing.TB) string   { return binary(t, "./integration/cluster/jobs/trouble") }
func wordcount(t testing.TB) string { return binary(t, "./examples/wordcount") }

var forks = make(chan func())

// forkThread starts all processes: Pdeathsig fires when the thread ends that forked.
func forkThread() {
	runtime.LockOSThread()
	for f := range forks {
		f()
	}
}

// process is one `weir jobmanager` or `weir taskmanager`.
type process struct {
	name, log string
	under     []string // what it is started by, such as "ip netns exec NAME"
	args, env []string
	cmd       *exec.Cmd
	ended     chan struct{} // closed when it has been waited for
}

// start starts the process; it may have run before.
func (p *process) start(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := under(p.under, weir(t), p.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(cleanEnv(), p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := startOnForkThread(cmd); err != nil {
		t.Fatal(err)
	}
	p.cmd, p.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait() // its state is read from cmd.ProcessState
	}(p.ended)
}

// under is a command that is started by another, which becomes it.
func under(by []string, program string, args ...string) *exec.Cmd {
	all := slices.Concat(by, []string{program}, args)
	return exec.Command(all[0], all[1:]...)
}

func startOnForkThread(cmd *exec.Cmd) error {
	started := make(chan error)
	forks <- func() { started <- cmd.Start() }
	return <-started
}

// cleanEnv is this process's environment without settings of Weir.
func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "WEIR_") {
			env = append(env, kv)
		}
	}
	return env
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill sends SIGKILL and waits for the end.
func (p *process) kill(t testing.TB) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
	p.await(t)
}

func (p *process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("send %v to %s: %v", s, p.name, err)
	}
}

// await waits for the process's end and returns its exit code, -1 if a signal ended it.
func (p *process) await(t testing.TB) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("%s does not end in %v; its log:\n%s", p.name, patience, p.text())
		return 0
	}
}

// text is what the process has logged.
func (p *process) text() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// layout says what a Cluster consists of.
type layout struct {
	jobManagers, taskManagers, slots int // 0 = 1, but taskManagers
	external                         bool
	settings                         []string // key=value, of all daemons
	late                             bool     // nothing is started yet
}

// Cluster is a cluster of processes that belongs to one test.
type Cluster struct {
	t        testing.TB
	dir      string
	managers []*process
	tasks    []*process
	rest     []string // addresses, by JobManager
	rpc      []string
	client   *client.Client
}

// newCluster starts a cluster and waits until all slots are there.
func newCluster(t testing.TB, l layout) *Cluster {
	t.Helper()
	c := &Cluster{t: t, dir: folder(t)}
	n := max(1, l.jobManagers)
	ports := freePorts(t, 2*n+1)
	c.rest, c.rpc = ports[:n], ports[n:2*n]
	var ha []string
	if l.external {
		ha = []string{"--etcd", startEtcd(t, filepath.Join(c.dir, "etcd"), ports[2*n]), "-D", "high-availability.storageDir=" + filepath.Join(c.dir, "ha")}
	}
	var settings []string
	for _, s := range l.settings {
		settings = append(settings, "-D", s)
	}
	for i := range n {
		name := fmt.Sprintf("jobmanager-%d", i)
		args := []string{"jobmanager", "--rest", c.rest[i], "--rpc", c.rpc[i], "--data", filepath.Join(c.dir, name)}
		c.managers = append(c.managers, c.process(name, append(append(args, ha...), settings...)))
	}
	for i := range l.taskManagers {
		name := fmt.Sprintf("taskmanager-%d", i)
		args := []string{"taskmanager", "--jobmanager", strings.Join(c.rpc, ","), "--slots", fmt.Sprint(max(1, l.slots)),
			"--data", filepath.Join(c.dir, name), "-D", "taskmanager.memory.process.size=512m"}
		c.tasks = append(c.tasks, c.process(name, append(args, settings...)))
	}
	var err error
	if c.client, err = client.New(client.Options{Address: strings.Join(c.rest, ","), Wait: patience}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	if !l.late {
		for _, p := range append(append([]*process{}, c.managers...), c.tasks...) {
			p.start(t)
		}
		c.awaitSlots(l.taskManagers * max(1, l.slots))
	}
	return c
}

func (c *Cluster) process(name string, args []string) *process {
	return &process{name: name, log: filepath.Join(c.dir, name+".log"), args: args}
}

// folder is a test's own, kept if the test fails.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, strings.NewReplacer("/", "_", " ", "_").Replace(t.Name()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("logs and files stay in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// startEtcd runs an etcd in this process and returns its endpoint.
func startEtcd(t testing.TB, dir, address string) string {
	t.Helper()
	e, err := etcdha.StartEmbedded(context.Background(), dir, "http://"+address, etcdha.Options{ClusterID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("stop etcd: %v", err)
		}
	})
	return address
}

// freePorts finds n addresses on loopback at which nobody listens.
func freePorts(t testing.TB, n int) []string {
	t.Helper()
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // at the end: else one would be found twice
		ports = append(ports, l.Addr().String())
	}
	return ports
}

// close ends everything that runs, workers too, which die with their TaskManager.
func (c *Cluster) close() {
	for _, p := range append(append([]*process{}, c.tasks...), c.managers...) {
		if p.cmd == nil {
			continue
		}
		_ = p.cmd.Process.Kill() // it may be gone already
		<-p.ended
	}
}

// until looks again and again whether something is so.
func until(t testing.TB, what string, so func() bool) {
	t.Helper()
	end := time.After(patience)
	for !so() {
		select {
		case <-time.After(look):
		case <-end:
			t.Fatalf("%v have passed without this: %s", patience, what)
		}
	}
}

// awaitSlots waits until the leader has this many slots.
func (c *Cluster) awaitSlots(n int) {
	c.t.Helper()
	until(c.t, fmt.Sprintf("a leader with %d slots", n), func() bool {
		for _, p := range c.managers {
			if p.cmd == nil {
				continue
			}
			select {
			case <-p.ended:
				if len(c.managers) == 1 {
					c.t.Fatalf("%s has ended:\n%s", p.name, p.text())
				}
			default:
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		o, err := c.client.Overview(ctx)
		return err == nil && o.SlotsTotal >= n
	})
}

// said is what a command printed and how it ended.
type said struct {
	stdout, stderr string
	code           int
}

func (s said) String() string {
	return fmt.Sprintf("exit code %d\n-- stdout --\n%s-- stderr --\n%s", s.code, s.stdout, s.stderr)
}

// lastLine is the last line on stdout.
func (s said) lastLine() string {
	lines := strings.Split(strings.TrimSuffix(s.stdout, "\n"), "\n")
	return lines[len(lines)-1]
}

// command is a `weir` command under way.
type command struct {
	t      testing.TB
	cmd    *exec.Cmd
	args   []string
	stdout bytes.Buffer
	stderr bytes.Buffer
	ended  chan error
}

// begin starts a command of the weir program.
func begin(t testing.TB, args ...string) *command {
	t.Helper()
	return beginIn(t, root, args...)
}

// beginIn starts it in another folder.
func beginIn(t testing.TB, dir string, args ...string) *command {
	t.Helper()
	return beginUnder(t, nil, dir, args...)
}

func beginUnder(t testing.TB, by []string, dir string, args ...string) *command {
	t.Helper()
	c := &command{t: t, args: args, cmd: under(by, weir(t), args...), ended: make(chan error, 1)}
	c.cmd.Dir, c.cmd.Env, c.cmd.Stdout, c.cmd.Stderr = dir, cleanEnv(), &c.stdout, &c.stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := startOnForkThread(c.cmd); err != nil {
		t.Fatal(err)
	}
	go func() { c.ended <- c.cmd.Wait() }()
	return c
}

// await waits for the command's end.
func (c *command) await() said {
	c.t.Helper()
	select {
	case err := <-c.ended:
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			c.t.Fatalf("weir %s: %v", strings.Join(c.args, " "), err)
		}
	case <-time.After(2 * patience):
		_ = c.cmd.Process.Kill()
		<-c.ended
		c.t.Fatalf("weir %s does not end:\n%s%s", strings.Join(c.args, " "), &c.stdout, &c.stderr)
	}
	return said{c.stdout.String(), c.stderr.String(), c.cmd.ProcessState.ExitCode()}
}

// begin starts a command that knows all JobManagers.
func (c *Cluster) begin(args ...string) *command {
	c.t.Helper()
	return begin(c.t, append([]string{"-m", strings.Join(c.rest, ",")}, args...)...)
}

// run runs a command that knows all JobManagers.
func (c *Cluster) run(args ...string) said {
	c.t.Helper()
	return c.begin(args...).await()
}

// must is run for a command that has to end well.
func (c *Cluster) must(args ...string) said {
	c.t.Helper()
	s := c.run(args...)
	if s.code != 0 {
		c.t.Fatalf("weir %s: %v", strings.Join(args, " "), s)
	}
	return s
}
