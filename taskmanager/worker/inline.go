package worker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/statebackend/objstore"
)

// Settings of package internal/config.
const (
	keyStorage  = "execution.checkpointing.storage"
	keyMaxState = "execution.checkpointing.jobmanager-storage.max-state-size"
)

// openStore opens the job's checkpoint folder or, with storage jobmanager, what stands in
// its place.
func (w *Worker) openStore(d *weirpb.Deploy) (objstore.Store, error) {
	if settingsOf(w.start.Config)[keyStorage] == "jobmanager" {
		return &inlineOnly{url: "jobmanager:" + d.CheckpointDir, most: int64(d.InlineLimit)}, nil
	}
	return objstore.Parse(d.CheckpointDir)
}

// inlineOnly is the store of a job whose state travels in the acks, all of it: it takes
// nothing, and says what was too large for an ack.
type inlineOnly struct {
	url     string
	most    int64 // bytes
	uid     string
	subtask int
}

// of is the store of one operator.
func (s *inlineOnly) of(uid string, subtask int) *inlineOnly {
	return &inlineOnly{s.url, s.most, uid, subtask}
}

var errInlineOnly = errors.New("storage jobmanager keeps no files; set " + keyStorage + " to filesystem")

// URL implements objstore.Store.
func (s *inlineOnly) URL() string { return s.url }

// Create implements objstore.Store.
func (s *inlineOnly) Create(_ context.Context, name string) (objstore.Writer, error) {
	return nil, fmt.Errorf("write %s: %w", name, errInlineOnly)
}

// ImportFile implements objstore.Importer: what is brought here is a run over the limit.
func (s *inlineOnly) ImportFile(_ context.Context, path, name string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return fmt.Errorf("state of operator %q takes %d bytes in subtask %d, and with storage jobmanager at most %d; set %s to filesystem, or raise %s",
		s.uid, info.Size(), s.subtask, s.most, keyStorage, keyMaxState)
}

// Open implements objstore.Store.
func (s *inlineOnly) Open(_ context.Context, name string) (objstore.Reader, error) {
	return nil, fmt.Errorf("read %s: %w: %w", name, objstore.ErrNotFound, errInlineOnly)
}

// Delete implements objstore.Store.
func (s *inlineOnly) Delete(context.Context, ...string) error { return nil }

// List implements objstore.Store.
func (s *inlineOnly) List(context.Context, string) iter.Seq2[objstore.Info, error] {
	return func(func(objstore.Info, error) bool) {}
}
