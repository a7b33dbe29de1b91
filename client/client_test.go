package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/client/api"
)

const id = "0123456789abcdef0123456789abcdef"

func answer(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func client(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A standby redirects; while there is no leader the client waits.
func TestFollowsTheLeader(t *testing.T) {
	var asked atomic.Int32
	leader := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) < 3 {
			answer(w, 503, api.NewError(api.ErrUnavailable, "NO_LEADER", "nobody leads"))
			return
		}
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			answer(w, 401, api.NewError(api.ErrDenied, "TOKEN_REQUIRED", "no token"))
			return
		}
		answer(w, 200, api.Overview{TaskManagers: 3})
	}))
	defer leader.Close()
	standby := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, leader.URL+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}))
	defer standby.Close()
	c := client(t, Options{Address: strings.TrimPrefix(standby.URL, "http://"), Token: "s3cret"})
	o, err := c.Overview(t.Context())
	if err != nil || o.TaskManagers != 3 {
		t.Fatalf("%+v, %v", o, err)
	}
	standby.Close() // the leader is known by now
	if _, err := c.Overview(t.Context()); err != nil {
		t.Error(err)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// The leader has died and the standby does not know yet: the takeover is waited for.
func TestWaitsForTheTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		c := client(t, Options{Address: "10.0.0.1:1,10.0.0.2:1", HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			a := httptest.NewRecorder()
			switch {
			case r.URL.Host == "10.0.0.1:1":
				return nil, errors.New("connection refused")
			case time.Since(begin) < 5*time.Second:
				http.Redirect(a, r, "http://10.0.0.1:1"+r.URL.RequestURI(), http.StatusTemporaryRedirect)
			default:
				answer(a, 200, api.Overview{TaskManagers: 3})
			}
			return a.Result(), nil
		})}})
		if o, err := c.Overview(t.Context()); err != nil || o.TaskManagers != 3 {
			t.Errorf("%+v, %v", o, err)
		}
	})
}

func TestUnreachable(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	c := client(t, Options{Address: gone.URL, Wait: time.Millisecond})
	_, err := c.Overview(t.Context())
	if !errors.Is(err, api.ErrUnavailable) || !strings.Contains(err.Error(), "no JobManager answers at 127.0.0.1:") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c = client(t, Options{Address: gone.URL, Wait: time.Hour})
	if _, err := c.Overview(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	live := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, 200, api.Overview{}) }))
	defer live.Close()
	c = client(t, Options{Address: gone.URL + "," + live.URL})
	if _, err := c.Overview(t.Context()); err != nil {
		t.Errorf("the second address was not tried: %v", err)
	}
}

func TestErrors(t *testing.T) {
	status, text := 200, ""
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, text)
	}))
	defer ts.Close()
	c := client(t, Options{Address: ts.URL})
	b, _ := json.Marshal(api.NewError(api.ErrNotFound, "JOB_NOT_FOUND", "no such job"))
	for _, c2 := range []struct {
		status int
		text   string
		mark   error
		want   string
	}{
		{404, string(b), api.ErrNotFound, "no such job"},
		{404, "<html>", nil, "is no JobManager of this version of Weir: it answers HTTP 404"},
		{200, "hello", nil, "is no JobManager of this version of Weir: its answer to GET /jobs/" + id},
		{500, "", nil, "it answers HTTP 500"},
	} {
		status, text = c2.status, c2.text
		_, err := c.Job(t.Context(), id)
		if err == nil || api.MarkOf(err) != c2.mark || !strings.Contains(err.Error(), c2.want) {
			t.Errorf("%d %q: %v", c2.status, c2.text, err)
		}
	}
	for _, bad := range []string{"localhost", "http://", "ftp://x:1", "127.0.0.1:8081/path", "::::", "a b:1", "http://u:p@h:1"} {
		if _, err := New(Options{Address: bad}); !errors.Is(err, api.ErrInvalid) {
			t.Errorf("address %q: %v", bad, err)
		}
	}
}

// A submission that breaks in the middle is sent again, under the same id.
func TestSubmit(t *testing.T) {
	content := []byte(strings.Repeat("binary", 100_000))
	path := filepath.Join(t.TempDir(), "job")
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
	var tries atomic.Int32
	var first string
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/leader" {
			answer(w, 200, api.Leader{Self: true})
			return
		}
		parts, err := r.MultipartReader()
		if err != nil {
			t.Error(err)
			return
		}
		var got []string
		for {
			p, err := parts.NextPart()
			if err != nil {
				break
			}
			b, _ := io.ReadAll(p)
			got = append(got, p.FormName()+"="+string(b))
			if p.FormName() == api.PartHead {
				if first == "" {
					first = string(b)
				}
				if string(b) != first {
					t.Errorf("second try: %s, first %s", b, first)
				}
				if tries.Add(1) == 1 {
					panic(http.ErrAbortHandler)
				}
			}
		}
		if len(got) != 3 || got[1] != "plan=PLAN" || got[2] != "binary="+string(content) {
			t.Errorf("received %d parts", len(got))
		}
		answer(w, 202, api.Submitted{JobID: id})
	}))
	defer ts.Close()
	var last int64
	got, err := client(t, Options{Address: ts.URL}).Submit(t.Context(), Submission{
		ID: id, Binary: path, Plan: []byte("PLAN"), Settings: map[string]string{"a": "b"}, Progress: func(sent, _ int64) { last = sent },
	})
	if err != nil || got.JobID != id || last != int64(len(content)) || tries.Load() != 2 {
		t.Errorf("%+v, %v, sent %d in %d tries", got, err, last, tries.Load())
	}
	sum := sha256.Sum256(content)
	if !strings.Contains(first, fmt.Sprintf(`"binary-size":%d,"binary-sha256":%q`, len(content), hex.EncodeToString(sum[:]))) {
		t.Errorf("head %s", first)
	}
	if _, err := client(t, Options{Address: ts.URL}).Submit(t.Context(), Submission{Binary: path + "x"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no binary: %v", err)
	}
}

func TestPick(t *testing.T) {
	mk := func(id, name, state string) *api.Job { return &api.Job{ID: id, Name: name, State: state} }
	jobs := []*api.Job{
		mk("aa1", "orders", api.StateRunning), mk("ab2", "orders", api.StateFinished), mk("b03", "words", api.StateFailed),
		mk("b14", "words", api.StateFinished), mk("c05", "twice", api.StateRunning), mk("c16", "twice", api.StateCreated),
	}
	for ref, want := range map[string]string{
		"orders": "aa1", "words": "b03", "aa": "aa1", "ab": "ab2", "ord": "aa1", "b": "JOB_AMBIGUOUS", "b0": "b03", "c1": "c16",
		"twice": "JOB_AMBIGUOUS", "tw": "JOB_AMBIGUOUS", "a": "JOB_AMBIGUOUS", "nope": "JOB_NOT_FOUND", "": "JOB_NOT_FOUND",
	} {
		j, err := pick(jobs, ref)
		got := ""
		if e := (*api.Error)(nil); errors.As(err, &e) {
			got = e.Code
		} else if j != nil {
			got = j.ID
		}
		if got != want {
			t.Errorf("%q: %s, want %s", ref, got, want)
		}
	}
}
