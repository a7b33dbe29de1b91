package demo

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/client"
	"github.com/weirstream/weir/client/api"
)

// A job that has failed is not waited for: it won't run again.
func TestJobThatFailed(t *testing.T) {
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(api.Job{State: api.StateFailed, LastFailure: &api.Failure{Cause: "disk full"}}) // what is cut off fails below
	}))
	defer ts.Close()
	cl, err := client.New(client.Options{Address: ts.URL})
	if err != nil {
		t.Fatal(err)
	}
	d := &demo{client: cl, cluster: &cluster{}, job: "j"}
	if _, err := d.awaitRunning(t.Context(), 0); !errors.Is(err, ErrNotExact) || !strings.Contains(err.Error(), "the job is FAILED: disk full") {
		t.Errorf("%v", err)
	}
	if err := d.awaitFailure(t.Context()); !errors.Is(err, ErrNotExact) {
		t.Errorf("%v", err)
	}
}

func TestPauses(t *testing.T) {
	dir := t.TempDir()
	at := time.Unix(1000, 0)
	p := pauses{path: filepath.Join(dir, "0")}
	for _, ms := range []int{0, 1, 2, 102, 103, 203, 303, 353} {
		if err := p.record(at.Add(time.Duration(ms) * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
	}
	for from, want := range map[int]time.Duration{0: 100 * time.Millisecond, 310: 50 * time.Millisecond, 400: leastPause} {
		got, err := longestPause(dir, at.Add(time.Duration(from)*time.Millisecond), at.Add(time.Second))
		if err != nil || got != want {
			t.Errorf("from %d ms on: %v, %v; want %v", from, got, err, want)
		}
	}
}
