package lint

import (
	"sync"
	"testing"
)

var loadOnce = sync.OnceValues(func() (*tree, error) {
	root, err := findRoot()
	if err != nil {
		return nil, err
	}
	return load(root)
})

// repository returns the parsed tree; all tests share it and change nothing in it.
func repository(t *testing.T) *tree {
	t.Helper()
	r, err := loadOnce()
	if err != nil {
		t.Fatal(err)
	}
	if len(r.files) < 20 {
		t.Fatalf("only %d Go files found below %s", len(r.files), r.root)
	}
	return r
}
