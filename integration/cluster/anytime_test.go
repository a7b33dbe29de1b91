package cluster

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// envKills is how many kills TestKillsAtAnyTime does.
const envKills = "WEIR_TEST_KILLS"

// TestKillsAtAnyTime kills processes without looking what the job does at that moment:
// while it is deployed, while it runs, while it ends.
func TestKillsAtAnyTime(t *testing.T) {
	t.Parallel()
	kills := 4
	if s := os.Getenv(envKills); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	c := newCluster(t, layout{taskManagers: 3})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	disturbed := 0
	for i := 0; i < kills || disturbed == 0 && i < 5*kills; i++ { // chance may spare every job
		id := c.submit("-D", "restart-strategy.exponential-delay.initial-backoff=50ms", "-D", "state.backend.type="+[]string{"heap", "pebble"}[i%2], bench(t), "--",
			"--n", "3000000", "--keys", "100000", "--parallelism", "2", "--checkpoint-ms", "50", "--rate", "2000000")
		victim := c.tasks[random.IntN(len(c.tasks))]
		what := []string{"TaskManager", "JobManager", "two TaskManagers"}[random.IntN(3)]
		pause := time.Duration(random.Int64N(int64(2500 * time.Millisecond)))
		<-time.After(pause)
		switch what {
		case "JobManager":
			victim = c.managers[0]
		case "two TaskManagers":
			for _, p := range c.tasks {
				if p != victim {
					p.kill(t)
					p.start(t)
					break
				}
			}
		}
		victim.kill(t)
		victim.start(t)
		j := c.finished(id)
		if j.Incarnation > 1 {
			disturbed++
		}
		if j.Result == nil || !strings.HasSuffix(j.Result.ClosingLine, line3M) {
			t.Errorf("%d: %s killed after %v: incarnation %d, result %+v", i, what, pause, j.Incarnation, j.Result)
		}
		c.awaitSlots(3)
	}
	t.Logf("%d of %d kills restarted the job", disturbed, kills)
	if disturbed == 0 && kills > 0 {
		t.Error("no kill restarted a job")
	}
}

// TestCleanStop: a TaskManager that is told to stop hands its part on.
func TestCleanStop(t *testing.T) {
	t.Parallel()
	c := newCluster(t, layout{taskManagers: 3})
	id := c.counting()
	j := c.jobUntil(id, "has a checkpoint", hasCheckpoint(1))
	p := c.user(j)
	pid := workerOn(t, j, p)
	p.signal(t, syscall.SIGTERM)
	if code := p.await(t); code != 0 {
		t.Errorf("SIGTERM ends the TaskManager with exit code %d:\n%s", code, p.text())
	}
	if syscall.Kill(pid, 0) == nil {
		t.Error("its worker still lives")
	}
	c.counted(id, j.Incarnation)
}
