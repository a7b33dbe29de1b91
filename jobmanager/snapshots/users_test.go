package snapshots

import (
	"errors"
	"testing"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
)

func TestUsers(t *testing.T) {
	var u Users
	u.Put("a", "file:///c/a", "")
	u.Put("b", "/c/b", "/c/a/chk-1")
	u.Put("broken", "", "/sp/1") // its settings can't be read
	for path, want := range map[string]job.ID{"/c/a/chk-1": "a", "/c/a": "a", "/c/ab": "", "/c/b/shared/x": "b", "/sp/1": ""} {
		if got := u.Owner(path); got != want {
			t.Errorf("owner of %s is %q, want %q", path, got, want)
		}
	}
	if u.StartedFrom("/c/a/chk-1", "") != "b" || u.StartedFrom("/c/a/chk-1", "b") != "" || u.StartedFrom("/sp/1", "b") != "broken" {
		t.Error("who was started from what")
	}
	if !u.Needs("b", "/c/a/chk-1") || u.Needs("b", "/sp/1") || u.Needs("a", "") {
		t.Error("who needs what")
	}
	u.Remove("b")
	if u.StartedFrom("/c/a/chk-1", "") != "" {
		t.Error("a job that has ended needs a snapshot")
	}
}

func TestClaim(t *testing.T) {
	var u Users
	u.Put("a", "/c/a", "")
	u.Put("b", "/c/b", "/sp/1")
	const none, claim, legacy = metapb.RestoreMode_RESTORE_MODE_NO_CLAIM, metapb.RestoreMode_RESTORE_MODE_CLAIM, metapb.RestoreMode_RESTORE_MODE_LEGACY
	for _, c := range []struct {
		path          string
		selfContained bool
		mode          metapb.RestoreMode
		owner         job.ID
		refused       bool
		warnings      int
	}{
		{"/c/a/chk-1", false, none, "a", false, 0},
		{"/c/a/chk-1", false, claim, "", true, 0},
		{"/c/a/chk-1", false, legacy, "", true, 0},
		{"/c/a/savepoint-1", true, claim, "", false, 1}, // the user has put it there
		{"/c/old/chk-1", false, claim, "", false, 1},
		{"/c/old/chk-1", false, legacy, "", false, 1},
		{"/c/new/chk-1", false, none, "", false, 0},
		{"/sp/1", true, none, "", false, 0},
		{"/sp/1", true, claim, "", true, 0}, // b needs it
	} {
		s := &Source{Path: c.path, Metadata: &metapb.CheckpointMetadata{SelfContained: c.selfContained}}
		got, err := u.Claim(s, &metapb.JobRecord{JobId: "new", RestoreMode: c.mode})
		if refused := errors.Is(err, api.ErrConflict); refused != c.refused || err == nil && (got.Owner != c.owner || len(got.Warnings) != c.warnings) {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
	}
}
