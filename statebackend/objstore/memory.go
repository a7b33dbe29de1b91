package objstore

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Memory is a Store in the process's memory: what JobManager storage of small jobs
// and tests use. It survives nothing.
type Memory struct {
	name string

	mu      sync.Mutex
	objects map[string][]byte // guarded by mu; a value is never written again
}

// NewMemory returns an empty store; name stands in its URL.
func NewMemory(name string) *Memory {
	return &Memory{name: name, objects: map[string][]byte{}}
}

// URL implements Store. Parse refuses it: another process could not read it.
func (m *Memory) URL() string { return "memory:" + m.name }

// Create implements Store.
func (m *Memory) Create(ctx context.Context, name string) (Writer, error) {
	if err := begin(ctx, "create", name); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.objects[name]; ok {
		return nil, fmt.Errorf("create object %s: %w", name, ErrExists)
	}
	return &memoryWriter{m: m, name: name}, nil
}

// Open implements Store.
func (m *Memory) Open(ctx context.Context, name string) (Reader, error) {
	if err := begin(ctx, "open", name); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.objects[name]
	if !ok {
		return nil, fmt.Errorf("open object %s: %w", name, ErrNotFound)
	}
	return BytesReader(b), nil
}

// Delete implements Store.
func (m *Memory) Delete(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := begin(ctx, "delete", name); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range names {
		delete(m.objects, name)
	}
	return nil
}

// List implements Store.
func (m *Memory) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		m.mu.Lock()
		var found []Info
		for _, name := range slices.Sorted(maps.Keys(m.objects)) {
			if strings.HasPrefix(name, prefix) {
				found = append(found, Info{name, int64(len(m.objects[name]))})
			}
		}
		m.mu.Unlock()
		for _, i := range found {
			if err := context.Cause(ctx); err != nil {
				yield(Info{}, fmt.Errorf("list objects %q: %w", prefix, err))
				return
			}
			if !yield(i, nil) {
				return
			}
		}
	}
}

type memoryWriter struct {
	m     *Memory
	name  string
	buf   []byte
	ended bool
}

func (w *memoryWriter) Write(p []byte) (int, error) {
	if w.ended {
		return 0, errEnded(w.name)
	}
	w.buf = append(w.buf, p...)
	return len(p), nil
}

func (w *memoryWriter) Commit(ctx context.Context) error {
	if w.ended {
		return errEnded(w.name)
	}
	if err := begin(ctx, "commit", w.name); err != nil {
		return err
	}
	w.ended = true
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if _, ok := w.m.objects[w.name]; ok {
		return fmt.Errorf("commit object %s: %w", w.name, ErrExists)
	}
	w.m.objects[w.name] = slices.Clip(w.buf)
	return nil
}

func (w *memoryWriter) Abort() error {
	w.ended, w.buf = true, nil
	return nil
}

// BytesReader reads b, which must not change meanwhile.
func BytesReader(b []byte) Reader { return bytesReader{bytes.NewReader(b)} }

type bytesReader struct{ *bytes.Reader }

func (bytesReader) Close() error { return nil }

// begin makes the checks that every operation starts with.
func begin(ctx context.Context, verb, name string) error {
	if err := ValidName(name); err != nil {
		return fmt.Errorf("%s object: %w", verb, err)
	}
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("%s object %s: %w", verb, name, err)
	}
	return nil
}

func errEnded(name string) error {
	return fmt.Errorf("write object %s: it was committed or aborted", name)
}
