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
