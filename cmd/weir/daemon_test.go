package main

import (
	"bufio"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// background is a daemon that runs as a call of the command, in this process.
type background struct {
	stop context.CancelFunc
	exit chan int
	log  *bufio.Scanner
}

func startDaemon(t *testing.T, args ...string) *background {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	d := &background{stop: cancel, exit: make(chan int, 1), log: bufio.NewScanner(r)}
	c := &cli{stdin: strings.NewReader(""), stdout: io.Discard, stderr: w}
	go func() {
		d.exit <- c.run(ctx, args)
		w.Close()
	}()
	return d
}

// waitFor reads the log until a line matches, and returns the groups.
func (d *background) waitFor(t *testing.T, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for d.log.Scan() {
		if m := re.FindStringSubmatch(d.log.Text()); m != nil {
			go func() { // nobody else reads what follows, and a full pipe would stop the daemon
				for d.log.Scan() {
				}
			}()
			return m
		}
	}
	t.Fatalf("the log ended without %s", pattern)
	return nil
}

// freePort is an address that nobody listens at, below the ports that outgoing
// connections get: a TaskManager that dials before its JobManager listens would be
// connected to itself now and then, and the port in use.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(20_000+rand.IntN(10_000))))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port")
	return ""
}

// A JobManager and a TaskManager find each other, serve and stop with exit code 0.
func TestDaemons(t *testing.T) {
	dir := t.TempDir()
	rpc := freePort(t)
	tm := startDaemon(t, "taskmanager", "--jobmanager", rpc, "--slots", "2", "--data", filepath.Join(dir, "tm"))
	jm := startDaemon(t, "jobmanager", "--rest", "127.0.0.1:0", "--rpc", rpc, "--data", filepath.Join(dir, "jm"))
	address := jm.waitFor(t, `msg="JobManager starts" rest=([0-9.:]+)`)[1]
	tm.waitFor(t, `msg="registered with JobManager"`)
	if c := weirCommand(t, nil, nil, "list", "-m", address); c.exit != exitOK || !strings.Contains(c.stderr, "no jobs") {
		t.Errorf("list: %v", c)
	}
	if c := weirCommand(t, nil, nil, "-m", address, "list", "-o", "json"); c.exit != exitOK || c.stdout != "[]\n" {
		t.Errorf("list -o json: %v", c)
	}
	if c := weirCommand(t, nil, nil, "-m", address, "describe", runningID); c.exit != exitNotFound {
		t.Errorf("describe: %v", c)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	if c := weirCommand(t, nil, nil, "jobmanager", "--rest", net.JoinHostPort(host, port), "--data", filepath.Join(dir, "other")); c.exit != exitConflict || !strings.Contains(c.stderr, "is in use by another process") {
		t.Errorf("port in use: %v", c)
	}
	if c := weirCommand(t, nil, nil, "jobmanager", "--rest", "127.0.0.1:0", "--rpc", "127.0.0.1:0", "--data", filepath.Join(dir, "jm")); c.exit != exitConflict || !strings.Contains(c.stderr, "data folder") {
		t.Errorf("folder in use: %v", c)
	}
	tm.stop()
	jm.stop()
	if a, b := <-tm.exit, <-jm.exit; a != exitOK || b != exitOK {
		t.Errorf("stopped with %d and %d", a, b)
	}
}

// A daemon says by which signal it was stopped.
func TestStopCause(t *testing.T) {
	for s, want := range map[syscall.Signal]string{syscall.SIGTERM: "SIGTERM", syscall.SIGINT: "SIGINT"} {
		ctx, stop := terminated(t.Context())
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		<-ctx.Done()
		stop()
		if got := stopCause(ctx); got != want {
			t.Errorf("stopped by %q, want %s", got, want)
		}
	}
}
