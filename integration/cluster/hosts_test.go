package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/client/api"
)

// hosts are two network namespaces with a wire between them, each with a host name of
// its own: for Weir two machines that share a file system.
type hosts struct {
	t     testing.TB
	names [2]string
}

// address is the host's on the wire.
func (h *hosts) address(i int) string { return fmt.Sprintf("10.213.7.%d", i+1) }

// on is what a program is started by to run on a host.
func (h *hosts) on(i int) []string {
	return []string{"ip", "netns", "exec", h.names[i], "unshare", "--uts", "sh", "-c", `hostname "$0" && exec "$@"`, h.names[i]}
}

func (h *hosts) ip(args ...string) {
	h.t.Helper()
	if text, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		h.t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, text)
	}
}

// twoHosts makes them, and skips the test where it must not.
func twoHosts(t *testing.T) *hosts {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can make network namespaces")
	}
	for _, program := range []string{"ip", "unshare"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is missing", program)
		}
	}
	h := &hosts{t: t}
	for i := range h.names {
		h.names[i] = fmt.Sprintf("weir-%d-%d", os.Getpid(), i)
		if text, err := exec.Command("ip", "netns", "add", h.names[i]).CombinedOutput(); err != nil {
			t.Skipf("network namespaces can't be made here: %v: %s", err, text)
		}
		t.Cleanup(func() { h.ip("netns", "delete", h.names[i]) })
	}
	h.ip("-n", h.names[0], "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", h.names[1])
	for i := range h.names {
		h.ip("-n", h.names[i], "address", "add", h.address(i)+"/24", "dev", "wire")
		h.ip("-n", h.names[i], "link", "set", "lo", "up")
		h.ip("-n", h.names[i], "link", "set", "wire", "up")
	}
	return h
}

// TestTwoHosts runs a keyed job whose records go from host to host, and cuts the wire
// for a while: the job goes on when the other host is back, and its result is right.
func TestTwoHosts(t *testing.T) {
	h := twoHosts(t)
	t.Parallel()
	c := &Cluster{t: t, dir: folder(t)}
	t.Cleanup(c.close)
	rest, rpc := h.address(0)+":8081", h.address(0)+":6123"
	shared := []string{"--insecure-no-auth", "-D", "execution.checkpointing.dir=" + filepath.Join(c.dir, "checkpoints")}
	start := func(host int, name string, args ...string) {
		p := c.process(name, append(append(args, "--data", filepath.Join(c.dir, name)), shared...))
		p.under = h.on(host)
		p.start(t)
		if args[0] == "jobmanager" {
			c.managers = append(c.managers, p)
		} else {
			c.tasks = append(c.tasks, p)
		}
	}
	start(0, "jobmanager-0", "jobmanager", "--rest", rest, "--rpc", rpc)
	for i := range 2 {
		start(i, fmt.Sprintf("taskmanager-%d", i), "taskmanager", "--jobmanager", rpc, "--host", h.address(i), "-D", "taskmanager.memory.process.size=512m")
	}
	say := func(args ...string) said {
		return beginUnder(t, h.on(0), root, append([]string{"-m", rest}, args...)...).await()
	}
	id := ""
	until(t, "the JobManager takes the job", func() bool {
		s := say("run", "-d", "-D", "restart-strategy.exponential-delay.initial-backoff=100ms", bench(t), "--", "--workload", "count", "--n", "3000000",
			"--keys", "100000", "--parallelism", "2", "--checkpoint-ms", "100", "--rate", "300000")
		id = s.lastLine()
		return s.code == 0
	})
	job := func(what string, so func(j *api.Job) bool) (j *api.Job) {
		t.Helper()
		until(t, what, func() bool {
			s := say("describe", id, "-o", "json")
			j = new(api.Job)
			if err := json.Unmarshal([]byte(s.stdout), j); err != nil {
				return false
			}
			if api.Terminal(j.State) && j.State != api.StateFinished {
				t.Fatalf("the job is %s: %+v", j.State, j.Failures)
			}
			return so(j)
		})
		return j
	}
	j := job("a checkpoint", hasCheckpoint(1))
	if n := len(between(t, workerOn(t, j, c.tasks[1]), h.address(0), rpc)); n == 0 {
		t.Error("no connection leads from one worker to the other host's: records do not go over the wire")
	}
	h.ip("-n", h.names[0], "link", "set", "wire", "down")
	job("the other host is lost", func(j *api.Job) bool { return !runs(j) })
	h.ip("-n", h.names[0], "link", "set", "wire", "up")
	j = job("the job is FINISHED", func(j *api.Job) bool { return j.State == api.StateFinished })
	if j.Result == nil || !strings.HasSuffix(j.Result.ClosingLine, line3M) || j.Restarts == 0 {
		t.Errorf("result %+v after %d restarts", j.Result, j.Restarts)
	}
}

// between are the ports of the TCP connections that lead from a process's network
// namespace to a host, but to the given address.
func between(t *testing.T, pid int, host, not string) (ports []string) {
	t.Helper()
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		t.Fatal(err)
	}
	var a, b, c, d int
	if _, err := fmt.Sscanf(host, "%d.%d.%d.%d", &a, &b, &c, &d); err != nil {
		t.Fatal(err)
	}
	far := fmt.Sprintf("%02X%02X%02X%02X", d, c, b, a) // as a little endian machine has it
	for _, line := range strings.Split(string(table), "\n")[1:] {
		f := strings.Fields(line)
		if len(f) < 4 || f[3] != "01" || !strings.HasPrefix(f[2], far+":") { // ESTABLISHED
			continue
		}
		var port int
		if _, err := fmt.Sscanf(f[2][len(far)+1:], "%X", &port); err == nil && fmt.Sprintf("%s:%d", host, port) != not {
			ports = append(ports, fmt.Sprint(port))
		}
	}
	return ports
}
