package demo

import (
	"os"
	"path/filepath"
	"testing"
)

// publish writes what a sink publishes: ids in order, changed by f.
func publish(t *testing.T, dir string, n uint64, f func(u update) []update) {
	t.Helper()
	count := map[uint64]uint64{}
	var b []byte
	for id := range n {
		k := keyOf(id)
		count[k]++
		for _, u := range f(update{k, count[k], id}) {
			b = appendUpdate(b, u)
		}
	}
	half := len(b) / recordSize / 2 * recordSize
	for name, part := range map[string][]byte{"a": b[:half], "b": b[half:]} {
		if err := os.WriteFile(filepath.Join(dir, name), part, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAuditor: each kind of fault is found, and nothing is found where nothing is.
func TestAuditor(t *testing.T) {
	const n = 20_000
	for name, c := range map[string]struct {
		change           func(u update) []update
		lost, duplicated uint64
	}{
		"exact":          {func(u update) []update { return []update{u} }, 0, 0},
		"one lost":       {func(u update) []update { return drop(u, u.ID == 7_000) }, 1, 0},
		"last lost":      {func(u update) []update { return drop(u, u.ID == n-1) }, 1, 0},
		"one doubled":    {func(u update) []update { return double(u, u.ID == 7_000) }, 0, 1},
		"one of each":    {func(u update) []update { return append(drop(u, u.ID == 5), double(u, u.ID == 6)[1:]...) }, 1, 1},
		"number repeats": {func(u update) []update { return []update{{u.Key, max(1, u.N-u.N%2), u.ID}} }, 0, 1},
	} {
		dir := t.TempDir()
		publish(t, dir, n, c.change)
		a := newAuditor(dir)
		for range 2 { // files are read once
			if err := a.scan(); err != nil {
				t.Fatal(err)
			}
		}
		if got := a.lost(n); got < c.lost || c.lost == 0 && name != "number repeats" && got != 0 {
			t.Errorf("%s: lost %d, want %d", name, got, c.lost)
		}
		if a.duplicated < c.duplicated || c.duplicated == 0 && a.duplicated != 0 {
			t.Errorf("%s: duplicated %d, want %d", name, a.duplicated, c.duplicated)
		}
	}
}

func drop(u update, hit bool) []update {
	if hit {
		return nil
	}
	return []update{u}
}

func double(u update, hit bool) []update {
	if hit {
		return []update{u, u}
	}
	return []update{u}
}

func TestDamageIsFound(t *testing.T) {
	dir := t.TempDir()
	b := appendUpdate(nil, update{keyOf(1), 1, 1})
	b[17] ^= 1
	if err := os.WriteFile(filepath.Join(dir, "a"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	a := newAuditor(dir)
	if err := a.scan(); err != nil || a.damaged != 1 {
		t.Errorf("damaged %d, %v", a.damaged, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "b"), b[:5], 0o600); err != nil {
		t.Fatal(err)
	}
	if a.scan() == nil {
		t.Error("a torn file was accepted")
	}
}
