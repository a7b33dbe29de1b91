package jobmanager

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/coordinator/ha/memha"
	"github.com/weirstream/weir/proto/metapb"
)

// absentStore is a store that does not say who leads.
type absentStore struct {
	*memha.Store
	err error
}

func (s absentStore) Leader(context.Context) (*metapb.LeaderRecord, ha.Epoch, error) {
	return nil, 0, s.err
}

// TestSayLeader: a store that does not answer is told of once; one that knows no
// leader is not worth a line.
func TestSayLeader(t *testing.T) {
	for err, want := range map[error]int{errors.New("connection refused"): 1, ha.ErrNotFound: 0} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			ctx, cancel := context.WithTimeout(t.Context(), 10*leaderWatch+time.Millisecond)
			defer cancel()
			m := &JobManager{cfg: Config{HA: absentStore{memha.New(), err}, Self: &metapb.LeaderRecord{}}}
			m.sayLeader(ctx, slog.New(slog.NewTextHandler(&log, nil)))
			if got := strings.Count(log.String(), "does not answer"); got != want || got != strings.Count(log.String(), "\n") {
				t.Errorf("%v: %q", err, log.String())
			}
		})
	}
}

// silentStore is a store that does not answer.
type silentStore struct{ *memha.Store }

func (silentStore) Leader(ctx context.Context) (*metapb.LeaderRecord, ha.Epoch, error) {
	<-ctx.Done()
	return nil, 0, context.Cause(ctx)
}

// TestSilentStore: while etcd is away /readyz says so before a probe gives up, and a
// command is told what to type.
func TestSilentStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &JobManager{cfg: Config{HA: silentStore{memha.New()}, Self: &metapb.LeaderRecord{RestAddress: "10.0.0.1:8081"}, Storage: t.TempDir()}}
		began := time.Now()
		for _, c := range m.API().Ready(t.Context()) {
			if want := c.Name == "high-availability.storageDir"; c.OK != want || !want && c.Detail == "" {
				t.Errorf("%+v", c)
			}
		}
		if took := time.Since(began); took > storeAnswers { // of the bubble
			t.Errorf("/readyz took %v", took)
		}
		var e *api.Error
		if _, err := m.API().Leader(t.Context()); !errors.As(err, &e) || !errors.Is(err, api.ErrUnavailable) || e.Code != "NO_STORE" || !strings.Contains(strings.Join(e.Hints, "\n"), "curl -s '10.0.0.1:8081/readyz?verbose'") {
			t.Errorf("%+v", err)
		}
	})
}
