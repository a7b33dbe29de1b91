package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/weirstream/weir/client"
	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator/ha/etcdha"
)

// Options of the demo.
type Options struct {
	CI       bool          // unattended, with kills of its own
	Load     time.Duration // with CI: how long records flow; default 40 s
	Rate     float64       // records a second; default 20,000
	Sabotage string        // "", "drop" or "double": the negative control
	Dir      string        // for everything; default: a temporary folder, removed afterwards
	Keep     bool          // do not remove it

	Stdout, Stderr io.Writer
	// Keys are pressed keys; nil without a terminal.
	Keys <-chan byte
}

// ErrNotExact says that records were lost or doubled, or a kill did not happen.
var ErrNotExact = errors.New("the demo failed")

// demo is a running demo.
type demo struct {
	o       Options
	cluster *cluster
	client  *client.Client
	audit   *auditor
	job     string
	n       int64  // records that the source is to emit
	emitted uint64 // and has emitted, as the result of the finished job says
	kills   kills
	started time.Time
}

// kills is what was done to the cluster.
type kills struct {
	taskManagers int
	leaders      int
	adopted      int // attempts, by the next leaders
	restarted    int // subtasks, by them
	recoveries   []time.Duration
}

// endless is the number of records of an interactive demo: a day of them.
const endless = 24 * time.Hour

// Run runs the demo to its end.
func Run(ctx context.Context, o Options) (err error) {
	o.Load = cmp.Or(o.Load, 40*time.Second)
	o.Rate = cmp.Or(o.Rate, 20_000)
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "weir-demo"); err != nil {
			return fmt.Errorf("make folder for the demo: %w", err)
		}
		defer func() {
			if o.Keep || err != nil {
				fmt.Fprintf(o.Stderr, "logs and files stay in %s\n", o.Dir)
				return
			}
			err = os.RemoveAll(o.Dir)
		}()
	}
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	etcd, err := etcdha.StartEmbedded(ctx, filepath.Join(o.Dir, "etcd"), "http://"+ports[0], etcdha.Options{ClusterID: "demo"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, etcd.Close()) }()
	c, err := startCluster(exe, o.Dir, ports[0], false)
	if err != nil {
		return err
	}
	defer c.close()
	d := &demo{o: o, cluster: c, audit: newAuditor(filepath.Join(o.Dir, "out")), started: time.Now()}
	if d.client, err = client.New(client.Options{Address: strings.Join(c.rest, ","), Wait: 20 * time.Second}); err != nil {
		return err
	}
	return d.run(ctx, exe)
}

func (d *demo) run(ctx context.Context, exe string) error {
	d.n = int64(d.o.Rate * d.o.Load.Seconds())
	if !d.o.CI {
		d.n = int64(d.o.Rate * endless.Seconds())
	}
	if err := d.submit(ctx, exe); err != nil {
		return err
	}
	if d.o.CI {
		return d.unattended(ctx)
	}
	return d.interactive(ctx)
}

// say writes a line for people.
func (d *demo) say(format string, args ...any) {
	line := fmt.Sprintf("%7s  %s", seconds(time.Since(d.started)), fmt.Sprintf(format, args...))
	if !d.o.CI { // the terminal is in raw mode, and the line of figures stands where the cursor is
		line = "\r\x1b[K" + line + "\r"
	}
	fmt.Fprintln(d.o.Stderr, line)
}

// pauses is the folder in which the job writes down when its records paused.
func (d *demo) pauses() string { return filepath.Join(d.o.Dir, "pauses") }

// submit makes the plan of the demo's job and submits this program as its binary.
func (d *demo) submit(ctx context.Context, exe string) error {
	out := filepath.Join(d.o.Dir, "out")
	if err := os.MkdirAll(out, 0o700); err != nil {
		return fmt.Errorf("make folder of the sink: %w", err)
	}
	planFile := filepath.Join(d.o.Dir, "plan")
	if err := os.MkdirAll(d.pauses(), 0o700); err != nil {
		return fmt.Errorf("make folder for the pauses: %w", err)
	}
	cmd := exec.CommandContext(ctx, exe, jobArgs(d.n, d.o.Rate, out, d.pauses(), d.o.Sabotage)...)
	cmd.Env = append(os.Environ(), "WEIR_PLAN="+planFile)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("plan the demo's job: %w: %s", err, text)
	}
	plan, err := os.ReadFile(planFile)
	if err != nil {
		return fmt.Errorf("plan the demo's job: %w", err)
	}
	if err := d.awaitSlots(ctx); err != nil {
		return err
	}
	submitted, err := d.client.Submit(ctx, client.Submission{Binary: exe, Plan: plan})
	if err != nil {
		return fmt.Errorf("submit the demo's job: %w", err)
	}
	d.job = submitted.JobID
	d.say("job %s submitted to %d JobManagers and %d TaskManagers, leader at %s", d.job[:8], jobManagers, taskManagers, d.leaderAddress(ctx))
	return nil
}

func (d *demo) leaderAddress(ctx context.Context) string {
	l, err := d.client.Leader(ctx)
	if err != nil {
		return "?"
	}
	return l.RESTAddress
}

// look is how often the demo looks at the cluster.
const look = 50 * time.Millisecond

// startTimeout bounds the start of the cluster.
const startTimeout = 30 * time.Second

func (d *demo) awaitSlots(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		o, err := d.client.Overview(ctx)
		if err == nil && o.SlotsTotal >= taskManagers {
			return nil
		}
		select {
		case <-time.After(look):
		case err := <-d.cluster.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("the cluster does not come up in %v: %d TaskManagers of %d (%w)", startTimeout, o.TaskManagers, taskManagers, err)
		}
	}
}

// status is one line of figures.
func (d *demo) status() string {
	return fmt.Sprintf("in %s · out %s · lost %d · duplicated %d",
		grouped(d.audit.in()), grouped(d.audit.out), d.audit.gaps()+d.audit.damaged, d.audit.duplicated)
}

// grouped writes n with commas.
func grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// ---- kills ----

// running is the job and whether every subtask is RUNNING. The error says that it has
// ended: it won't run again.
func (d *demo) running(ctx context.Context) (j *api.Job, all bool, err error) {
	j, err = d.client.Job(ctx, d.job)
	switch {
	case err != nil:
		return nil, false, nil // nobody leads, for a while
	case api.Terminal(j.State):
		return nil, false, endError(j)
	}
	all = j.State == api.StateRunning
	for _, v := range j.Vertices {
		all = all && v.State == api.StateRunning
	}
	return j, all, nil
}

// endError says how the job ended, which it should not have.
func endError(j *api.Job) error {
	cause := ""
	if j.LastFailure != nil {
		cause = ": " + j.LastFailure.Cause
	}
	return fmt.Errorf("%w: the job is %s%s", ErrNotExact, j.State, cause)
}

// recoveryTimeout bounds the wait for a recovery: a lease of 3 s and a restart are
// far below it.
const recoveryTimeout = 60 * time.Second

// killTaskManager kills a TaskManager that runs part of the job, and waits until
// all of it runs again in a new incarnation.
func (d *demo) killTaskManager(ctx context.Context) error {
	j, err := d.awaitRunning(ctx, 0)
	if err != nil {
		return err
	}
	var victims []*process
	for _, v := range j.Vertices {
		for _, s := range v.Subtasks {
			for _, p := range d.cluster.tasks {
				if p.pid() != 0 && p.pid() == s.TaskManagerPID {
					victims = append(victims, p)
				}
			}
		}
	}
	if len(victims) == 0 {
		return fmt.Errorf("%w: no TaskManager runs the job", ErrNotExact)
	}
	p := victims[rand.IntN(len(victims))]
	if err := d.kill(ctx, p, j); err != nil {
		return err
	}
	d.kills.taskManagers++
	return nil
}

// killLeader kills the leading JobManager.
func (d *demo) killLeader(ctx context.Context) error {
	if _, err := d.awaitRunning(ctx, 0); err != nil {
		return err
	}
	l, err := d.client.Leader(ctx)
	if err != nil {
		return fmt.Errorf("find the leader: %w", err)
	}
	for i, p := range d.cluster.managers {
		if d.cluster.rest[i] != l.RESTAddress {
			continue
		}
		return d.killLeading(ctx, p, l.Epoch)
	}
	return fmt.Errorf("%w: no JobManager of the demo listens at the leader's address %s", ErrNotExact, l.RESTAddress)
}

// kill kills p and waits for the recovery.
func (d *demo) kill(ctx context.Context, p *process, before *api.Job) error {
	pid := p.pid()
	at := time.Now()
	if !p.kill() {
		return fmt.Errorf("%w: %s was not there to be killed", ErrNotExact, p.name)
	}
	d.say("killed %s (pid %d, SIGKILL)", p.name, pid)
	if _, err := d.awaitRunning(ctx, before.Incarnation); err != nil {
		return err
	}
	took := time.Since(at)
	d.kills.recoveries = append(d.kills.recoveries, took)
	d.say("the job runs again after %d ms", took.Milliseconds())
	return nil
}

// killLeading kills the JobManager p, which leads in epoch, and waits until the next one has
// taken the job over. What counts is how long records waited.
func (d *demo) killLeading(ctx context.Context, p *process, epoch uint64) error {
	pid := p.pid()
	at := time.Now()
	if !p.kill() {
		return fmt.Errorf("%w: %s was not there to be killed", ErrNotExact, p.name)
	}
	d.say("killed %s (pid %d, SIGKILL), which led", p.name, pid)
	r, err := d.awaitTakeover(ctx, epoch)
	if err != nil {
		return err
	}
	if _, err := d.awaitRunning(ctx, 0); err != nil {
		return err
	}
	pause, err := longestPause(d.pauses(), at, time.Now())
	if err != nil {
		return err
	}
	d.kills.leaders++
	d.kills.adopted += r.Adopted
	d.kills.restarted += r.Restarted
	d.kills.recoveries = append(d.kills.recoveries, pause)
	d.say("another JobManager leads after %d ms: adopted=%d restarted=%d; the longest pause of the records was %d ms",
		time.Since(at).Milliseconds(), r.Adopted, r.Restarted, pause.Milliseconds())
	return nil
}

// awaitTakeover waits for the receipt of a leader after epoch.
func (d *demo) awaitTakeover(ctx context.Context, epoch uint64) (*api.Takeover, error) {
	ctx, cancel := context.WithTimeout(ctx, recoveryTimeout)
	defer cancel()
	for {
		l, err := d.client.Takeover(ctx)
		if err == nil && l.Epoch > epoch && l.Takeover != nil && l.Takeover.Open == 0 {
			return l.Takeover, nil
		}
		select {
		case <-time.After(look):
		case err := <-d.cluster.failed:
			return nil, err
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: no other JobManager has taken the job over in %v (%w)", ErrNotExact, recoveryTimeout, err)
		}
	}
}

// awaitRunning waits until the whole job runs in an incarnation after the given one.
func (d *demo) awaitRunning(ctx context.Context, after uint64) (*api.Job, error) {
	ctx, cancel := context.WithTimeout(ctx, recoveryTimeout)
	defer cancel()
	for {
		j, all, err := d.running(ctx)
		if err != nil || all && j.Incarnation > after {
			return j, err
		}
		select {
		case <-time.After(look):
		case err := <-d.cluster.failed:
			return nil, err
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: the job does not run again in %v (%w)", ErrNotExact, recoveryTimeout, context.Cause(ctx))
		}
	}
}

// ---- the two ways of running ----

// unattended runs the schedule of --ci: three TaskManagers and the leader are
// killed while records flow; then the job ends and everything is counted.
func (d *demo) unattended(ctx context.Context) error {
	if _, err := d.awaitRunning(ctx, 0); err != nil {
		return err
	}
	d.say("the job runs; %d records at %.0f/s", d.n, d.o.Rate)
	steps := []func(context.Context) error{d.killTaskManager, d.killTaskManager, d.killLeader, d.killTaskManager}
	pause := d.o.Load / time.Duration(len(steps)+2)
	for _, step := range steps {
		if err := d.flow(ctx, pause); err != nil {
			return err
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	if err := d.awaitEnd(ctx); err != nil {
		return err
	}
	return d.verdict()
}

// flow lets records pass for a while.
func (d *demo) flow(ctx context.Context, t time.Duration) error {
	end := time.After(t)
	for {
		if err := d.audit.scan(); err != nil {
			return err
		}
		select {
		case <-time.After(look):
		case <-end:
			d.say("%s", d.status())
			return nil
		case err := <-d.cluster.failed:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// awaitEnd waits for the job to finish.
func (d *demo) awaitEnd(ctx context.Context) error {
	for {
		j, err := d.client.Job(ctx, d.job)
		if err == nil && api.Terminal(j.State) {
			if j.State != api.StateFinished {
				return endError(j)
			}
			if j.Result != nil {
				d.emitted = j.Result.Sums[resultEmitted]
			}
			d.say("the job is %s", j.State)
			return d.audit.scan()
		}
		if err := d.flow(ctx, time.Second); err != nil {
			return err
		}
	}
}

// verdict prints the last line and decides.
func (d *demo) verdict() error {
	in, lost := d.emitted, d.audit.lost(d.emitted)
	var ms []string
	for _, r := range d.kills.recoveries {
		ms = append(ms, fmt.Sprintf("%dms", r.Milliseconds()))
	}
	fmt.Fprintf(d.o.Stdout, "demo: in=%d out=%d lost=%d duplicated=%d taskmanager-kills=%d leader-kills=%d adopted=%d restarted=%d recoveries=[%s]\n",
		in, d.audit.out, lost, d.audit.duplicated, d.kills.taskManagers, d.kills.leaders, d.kills.adopted, d.kills.restarted, strings.Join(ms, " "))
	switch {
	case in != uint64(d.n):
		return fmt.Errorf("%w: the source has emitted %d records instead of %d", ErrNotExact, in, d.n)
	case lost > 0 || d.audit.duplicated > 0:
		return fmt.Errorf("%w: %d records lost, %d duplicated, %d damaged", ErrNotExact, lost, d.audit.duplicated, d.audit.damaged)
	case d.kills.taskManagers < 3 || d.kills.leaders < 1:
		return fmt.Errorf("%w: only %d TaskManagers and %d leaders were killed", ErrNotExact, d.kills.taskManagers, d.kills.leaders)
	}
	return nil
}

// awaitFailure waits until the job has ended, which it does only by failing, or ctx has.
func (d *demo) awaitFailure(ctx context.Context) error {
	for {
		if _, _, err := d.running(ctx); err != nil {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// interactive obeys keys: k kills a TaskManager, j the leader, q quits.
func (d *demo) interactive(ctx context.Context) error {
	d.say("k kills a TaskManager, j the leading JobManager, q quits. Look at the job: http://%s", d.cluster.rest[0])
	killed, ended := make(chan error, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { ended <- d.awaitFailure(ctx) }()
	busy := false
	for {
		if err := d.audit.scan(); err != nil {
			return err
		}
		fmt.Fprintf(d.o.Stderr, "\r\x1b[K%7s  %s", seconds(time.Since(d.started)), d.status())
		select {
		case k := <-d.o.Keys:
			switch {
			case k == 'q' || k == 3: // 3 is Ctrl-C in raw mode
				fmt.Fprint(d.o.Stderr, "\r\n")
				return nil
			case busy:
			case k == 'k':
				busy = true
				go func() { killed <- d.killTaskManager(ctx) }()
			case k == 'j':
				busy = true
				go func() { killed <- d.killLeader(ctx) }()
			}
		case err := <-ended:
			return err
		case err := <-killed:
			busy = false
			if err != nil {
				return err
			}
		case err := <-d.cluster.failed:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
