package etcdha_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/coordinator/ha/etcdha"
	"github.com/weirstream/weir/coordinator/ha/hatest"
	"github.com/weirstream/weir/proto/metapb"
)

func start(t *testing.T, dir string) *etcdha.Embedded {
	t.Helper()
	e, err := etcdha.StartEmbedded(t.Context(), dir, "", etcdha.Options{ClusterID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestContract(t *testing.T) {
	hatest.Run(t, func(t *testing.T) hatest.Backend {
		e := start(t, t.TempDir())
		t.Cleanup(func() {
			if err := e.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		return e
	})
}

// TestRestartDeposesThePredecessor: a JobManager that was killed leaves its
// election key behind; the next one on the same folder leads without waiting for
// the lease, with a higher epoch, and finds the records.
func TestRestartDeposesThePredecessor(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir)
	l, err := first.Campaign(t.Context(), &metapb.LeaderRecord{Process: "first"})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Commit(t.Context(), l, ha.Txn{Puts: []ha.Entry{{Key: "k", Value: []byte("v")}}}); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil { // no Resign: the key stays
		t.Fatal(err)
	}
	second := start(t, dir)
	defer second.Close()
	if _, _, err := second.Leader(t.Context()); !errors.Is(err, ha.ErrNotFound) {
		t.Fatalf("leader after a restart: %v, want %v", err, ha.ErrNotFound)
	}
	l2, err := second.Campaign(t.Context(), &metapb.LeaderRecord{Process: "second"})
	if err != nil {
		t.Fatal(err)
	}
	if l2.Epoch() <= l.Epoch() {
		t.Errorf("epoch %d after %d", l2.Epoch(), l.Epoch())
	}
	if v, err := second.Get(t.Context(), "k"); err != nil || string(v) != "v" {
		t.Errorf("record after a restart: %q, %v", v, err)
	}
	if err := l2.Resign(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

func TestSecondProcessOnTheFolderIsRefused(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir)
	defer first.Close()
	if _, err := etcdha.StartEmbedded(t.Context(), dir, "", etcdha.Options{ClusterID: "test"}); !errors.Is(err, etcdha.ErrFolderInUse) {
		t.Fatalf("second start: %v, want %v", err, etcdha.ErrFolderInUse)
	}
}

// TestCampaignEnds: an etcd that does not answer does not hold up the end of a
// campaign.
func TestCampaignEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := etcdha.Open(etcdha.Options{Endpoints: []string{l.Addr().String()}, ClusterID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := s.Campaign(ctx, &metapb.LeaderRecord{})
		ended <- err
	}()
	if _, err := l.Accept(); err != nil { // it is on its way
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("campaign: %v", err)
	}
}

// TestAwayIsNamed: who asks an etcd that does not answer is told where it was looked for.
func TestAwayIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := etcdha.Open(etcdha.Options{Endpoints: []string{l.Addr().String()}, ClusterID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, _, err := s.Leader(ctx); err == nil || !strings.Contains(err.Error(), "etcd at "+l.Addr().String()+" does not answer") {
		t.Errorf("leader: %v", err)
	}
}
