package memha_test

import (
	"errors"
	"testing"

	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/coordinator/ha/hatest"
	"github.com/weirstream/weir/coordinator/ha/memha"
	"github.com/weirstream/weir/proto/metapb"
)

func TestContract(t *testing.T) {
	hatest.Run(t, func(t *testing.T) hatest.Backend { return memha.New() })
}

// TestUnknownResultMayBeApplied is I4's ground: the caller sees ErrUnknown and the
// change is there.
func TestUnknownResultMayBeApplied(t *testing.T) {
	s := memha.New()
	l, err := s.Campaign(t.Context(), &metapb.LeaderRecord{})
	if err != nil {
		t.Fatal(err)
	}
	s.SetFault(func(ha.Txn) (bool, error) { return true, ha.ErrUnknown })
	if err := s.Commit(t.Context(), l, ha.Txn{Puts: []ha.Entry{{Key: "k", Value: []byte("v")}}}); !errors.Is(err, ha.ErrUnknown) {
		t.Fatalf("commit: %v, want %v", err, ha.ErrUnknown)
	}
	s.SetFault(nil)
	if v, err := s.Get(t.Context(), "k"); err != nil || string(v) != "v" {
		t.Fatalf("read back %q, %v", v, err)
	}
}
