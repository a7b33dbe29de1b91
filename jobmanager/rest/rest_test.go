package rest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/job"
)

var update = flag.Bool("update", false, "write testdata")

const jobA, jobB = "0123456789abcdef0123456789abcdef", "fedcba98765432100123456789abcdef"

// model is a cluster in memory.
type model struct {
	lead      api.Leader
	leadErr   error
	checks    []api.Check
	list      []*api.Job
	cancelled []job.ID
	submitted *api.Submission
	received  []byte
	asked     []any
	err       error // of every other method
}

func (m *model) Leader(context.Context) (api.Leader, error) { return m.lead, m.leadErr }
func (m *model) Ready(context.Context) []api.Check          { return m.checks }
func (m *model) Jobs(context.Context) ([]*api.Job, error)   { return m.list, m.err }

func (m *model) Overview(context.Context) (api.Overview, error) {
	return api.Overview{TaskManagers: 2, SlotsTotal: 4, SlotsAvailable: 1, JobsRunning: 1, JobsFinished: 1, ClusterID: "weir", GOARCH: "amd64"}, m.err
}

func (m *model) Job(_ context.Context, id job.ID) (*api.Job, error) {
	for _, j := range m.list {
		if j.ID == string(id) {
			return j, nil
		}
	}
	return nil, fmt.Errorf("job %s: %w", id, api.ErrNotFound)
}

func (m *model) TaskManagers(context.Context) ([]api.TaskManager, error) {
	return []api.TaskManager{{ID: "tm-1", Host: "127.0.0.1", PID: 7, SlotsTotal: 2, SlotsFree: 1, RegisteredAt: at(0), LastHeartbeat: at(5)}}, m.err
}

func (m *model) Submit(_ context.Context, s *api.Submission) (api.Submitted, error) {
	m.submitted = s
	b, err := io.ReadAll(s.Binary)
	if err != nil {
		return api.Submitted{}, fmt.Errorf("store binary: %w", err)
	}
	m.received = b
	return api.Submitted{JobID: s.ID}, m.err
}

func (m *model) ask(id job.ID, trigger string, request any) (string, error) {
	if _, err := m.Job(context.Background(), id); err != nil {
		return "", err
	}
	m.asked = append(m.asked, request)
	return orFirst(trigger), m.err
}

func (m *model) Savepoint(_ context.Context, id job.ID, r api.SavepointRequest) (string, error) {
	return m.ask(id, r.TriggerID, r)
}

func (m *model) Stop(_ context.Context, id job.ID, r api.StopRequest) (string, error) {
	return m.ask(id, r.TriggerID, r)
}

func (m *model) Checkpoint(_ context.Context, id job.ID, r api.CheckpointRequest) (string, error) {
	return m.ask(id, r.TriggerID, r)
}

func (m *model) Rescale(_ context.Context, id job.ID, r api.RescaleRequest) (string, error) {
	return m.ask(id, r.TriggerID, r)
}

func (m *model) Dispose(_ context.Context, r api.DisposalRequest) (string, error) {
	m.asked = append(m.asked, r)
	return orFirst(r.TriggerID), m.err
}

func (m *model) Operation(_ context.Context, id job.ID, trigger string) (*api.Operation, error) {
	switch trigger {
	case "running":
		return api.InProgress(api.OperationProgress{Phase: api.PhaseCheckpoint, Subtasks: 4, Acked: 1}), nil
	case "done":
		return api.Completed(api.OperationResult{Location: "/sp/savepoint-1"}), nil
	case "failed":
		return api.FailedOperation(api.NewError(api.ErrConflict, "CHECKPOINT_FAILED", "disk full")), nil
	}
	return nil, api.ErrNotFound
}

func (m *model) Disposal(ctx context.Context, trigger string) (*api.Operation, error) {
	return m.Operation(ctx, "", trigger)
}

func (m *model) CheckpointConfig(context.Context, job.ID) (api.CheckpointConfig, error) {
	return api.CheckpointConfig{Mode: "exactly_once", Interval: 10000, MaxConcurrent: 1}, m.err
}

func (m *model) CheckpointDetails(_ context.Context, id job.ID, n uint64) (*api.CheckpointDetails, error) {
	for _, j := range m.list {
		for _, c := range j.Checkpoints.History {
			if j.ID == string(id) && c.ID == n {
				return &api.CheckpointDetails{Checkpoint: c, Vertices: []api.CheckpointVertex{{ID: 0, UID: "in", Subtasks: []api.CheckpointSubtask{
					{Index: 0, AckedAt: ptr(at(9)), DurationMS: 90, SyncMS: 1, AsyncMS: 60, AlignmentMS: 7, StartDelayMS: 3, Bytes: 700, NewBytes: 70}, {Index: 1},
				}}}}, nil
			}
		}
	}
	return nil, api.ErrNotFound
}

func (m *model) Cancel(_ context.Context, id job.ID) error {
	m.cancelled = append(m.cancelled, id)
	return m.err
}

func at(second int) time.Time {
	return time.Date(2026, 11, 21, 12, 0, second, 0, time.UTC)
}

func ptr[T any](v T) *T { return &v }

func sample() *model {
	running := &api.Job{
		ID: jobA, Name: "orders", State: api.StateRunning, SubmittedAt: at(0), StartedAt: ptr(at(1)), DurationMS: 9000, Parallelism: 2, Restarts: 1, Incarnation: 2,
		Vertices: []api.Vertex{{
			ID: 1, UID: "count", Name: "count -> <b>sink</b>", Parallelism: 2, State: "RUNNING",
			Subtasks: []api.Subtask{
				{Index: 0, State: "RUNNING", Attempt: "e3.n2", Since: at(4), Host: "127.0.0.1", TaskManagerID: "tm-1", TaskManagerPID: 7, WorkerPID: 71},
				{Index: 1, State: "RUNNING", Attempt: "e3.n2", Since: at(5), Host: "127.0.0.1", TaskManagerID: "tm-2", TaskManagerPID: 8, WorkerPID: 81},
			},
		}},
		LastCheckpoint: &api.Checkpoint{ID: 4, Status: api.CheckpointCompleted, Kind: "checkpoint", TriggeredAt: at(8), DurationMS: 120, Path: "/data/chk-4", Bytes: 5000, NewBytes: 100, Subtasks: 2, Acked: 2},
		Checkpoints: api.Checkpoints{Completed: 4, Failed: 1, Restored: 1, RestoredFrom: &api.Checkpoint{ID: 2, Status: api.CheckpointCompleted, Kind: "checkpoint", TriggeredAt: at(2), Path: "/data/chk-2"}, History: []api.Checkpoint{
			{ID: 4, Status: api.CheckpointCompleted, Kind: "checkpoint", TriggeredAt: at(8), DurationMS: 120, Path: "/data/chk-4", Bytes: 5000, NewBytes: 100, Subtasks: 2, Acked: 2},
			{ID: 3, Status: api.CheckpointFailed, Kind: "checkpoint", TriggeredAt: at(6), DurationMS: 10, Subtasks: 2, Acked: 1, Failure: "subtask count[1] declined: disk full"},
		}},
		LastFailure: &api.Failure{Time: at(3), Task: "count[1]", Cause: "worker 70 was killed (SIGKILL)", TaskManager: "tm-1"},
		Failures:    []api.Failure{{Time: at(3), Task: "count[1]", Cause: "worker 70 was killed (SIGKILL)", TaskManager: "tm-1"}},
		Settings:    map[string]string{"parallelism.default": "2"},
	}
	finished := &api.Job{
		ID: jobB, Name: "words", State: api.StateFinished, SubmittedAt: at(0), StartedAt: ptr(at(1)), EndedAt: ptr(at(3)), DurationMS: 2000, Parallelism: 1,
		Result: &api.Result{DurationMS: 2000, ClosingLine: "words=18446744073709551615 ms=2000", Sums: map[string]uint64{"words": 1<<64 - 1}, Texts: map[string]string{"p99": "0.5"}},
	}
	return &model{lead: api.Leader{Self: true}, list: []*api.Job{running, finished}, checks: []api.Check{{Name: "store", OK: true}, {Name: "data folder", OK: true}}}
}

func server(t *testing.T, m *model, change func(*Options)) *Server {
	t.Helper()
	o := Options{Cluster: m, Version: "0.1.0", Commit: "abc", Settings: []api.Setting{{Key: "rest.port", Value: "8081", Origin: "default"}}}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.now = func() time.Time { return at(10) }
	return s
}

func do(s http.Handler, method, path string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Host = "127.0.0.1:8081"
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// fillIn gives the wildcards of a route a value.
func fillIn(path string) string {
	return strings.NewReplacer("{$}", "", "{id}", jobA, "{checkpoint}", "4", "{vertex}", "in", "{trigger}", "done").Replace(path)
}

// The forms are a stable interface: what stands in testdata may grow, never change.
func TestGolden(t *testing.T) {
	s := server(t, sample(), nil)
	for _, rt := range routes {
		if rt.method != "GET" || strings.HasPrefix(rt.path, "/{$}") {
			continue
		}
		paths := []string{fillIn(rt.path)}
		if strings.HasSuffix(rt.path, "execution-result") || strings.HasSuffix(rt.path, "}/describe") {
			paths = append(paths, strings.ReplaceAll(paths[0], jobA, jobB))
		}
		for _, path := range paths {
			w := do(s, "GET", path, nil)
			got := w.Body.String()
			if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
				var b bytes.Buffer
				if err := json.Indent(&b, w.Body.Bytes(), "", "  "); err != nil {
					t.Fatal(err)
				}
				got = b.String()
			}
			file := strings.NewReplacer("/", "_", jobA, "running", jobB, "finished").Replace(strings.TrimPrefix(path, "/"))
			golden(t, file+".txt", fmt.Sprintf("GET %s\n%d\n%s", path, w.Code, got))
		}
	}
	var list strings.Builder
	for _, rt := range routes {
		fmt.Fprintf(&list, "%-6s %-32s leader=%-5v right=%d body=%d\n", rt.method, rt.path, rt.place == leaderOnly, rt.right, rt.body)
	}
	golden(t, "routes.txt", list.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

// Every door has its guards: token, leader, host, origin; and there is no other door.
func TestDoors(t *testing.T) {
	standby := sample()
	standby.lead = api.Leader{RESTAddress: "10.0.0.1:8081"}
	headless := sample()
	headless.leadErr = fmt.Errorf("nobody leads: %w", api.ErrUnavailable)
	locked := server(t, sample(), func(o *Options) { o.Token = "s3cret" })
	for _, rt := range routes {
		path := fillIn(rt.path)
		want := 401
		if rt.right == probe {
			want = 200
		}
		for name, auth := range map[string]string{"none": "", "wrong": "Bearer no", "empty": "Bearer ", "basic": "Basic " + base64.StdEncoding.EncodeToString([]byte("x:no"))} {
			w := do(locked, rt.method, path, func(r *http.Request) { r.Header.Set("Authorization", auth) })
			if w.Code != want {
				t.Errorf("%s %s with token %s: %d, want %d", rt.method, path, name, w.Code, want)
			}
		}
		w := do(server(t, standby, nil), rt.method, path+"?a=b", nil)
		if redirects := w.Code == 307 && w.Header().Get("Location") == "http://10.0.0.1:8081"+path+"?a=b"; redirects != (rt.place == leaderOnly) {
			t.Errorf("%s %s at a standby: %d to %q", rt.method, path, w.Code, w.Header().Get("Location"))
		}
		w = do(server(t, headless, nil), rt.method, path, nil)
		if (w.Code == 503) != (rt.place == leaderOnly || path == "/leader") {
			t.Errorf("%s %s without a leader: %d", rt.method, path, w.Code)
		}
		if w := do(locked, rt.method, path, func(r *http.Request) { r.Host = "evil.example" }); w.Code != 421 {
			t.Errorf("%s %s for another host: %d, want 421", rt.method, path, w.Code)
		}
		if rt.right == write {
			w := do(server(t, sample(), nil), rt.method, path, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
			if w.Code != 403 {
				t.Errorf("%s %s from another origin: %d, want 403", rt.method, path, w.Code)
			}
		}
		if w := do(server(t, sample(), nil), "DELETE", path, nil); w.Code != 405 || w.Header().Get("Allow") == "" {
			t.Errorf("DELETE %s: %d, Allow %q", path, w.Code, w.Header().Get("Allow"))
		}
	}
	s := server(t, sample(), nil)
	for _, path := range []string{"/x", "/jobs/" + jobA + "/x", "/debug/pprof/", "/jobs/describe/x", "/static/..%2f..%2fetc/passwd"} {
		if w := do(s, "GET", path, nil); w.Code != 404 {
			t.Errorf("GET %s: %d, want 404", path, w.Code)
		}
	}
	for _, id := range []string{"x", "..", strings.ToUpper(jobA), jobA + "0", "%2e%2e%2f"} {
		if w := do(s, "GET", "/jobs/"+id, nil); w.Code != 400 && w.Code != 404 && w.Code != 307 {
			t.Errorf("GET /jobs/%s: %d", id, w.Code)
		}
	}
	for _, auth := range []string{"Bearer s3cret", "Basic " + base64.StdEncoding.EncodeToString([]byte("x:s3cret"))} {
		if w := do(locked, "GET", "/jobs", func(r *http.Request) { r.Header.Set("Authorization", auth) }); w.Code != 200 {
			t.Errorf("with %q: %d, want 200", auth, w.Code)
		}
	}
	named := server(t, sample(), func(o *Options) { o.Hosts = []string{"weir.example"} })
	for host, want := range map[string]int{"weir.example:8081": 200, "WEIR.example": 200, "[::1]:8081": 200, "localhost": 200, "10.1.2.3:1": 200, "": 421, "weir.example.evil": 421} {
		if w := do(named, "GET", "/jobs", func(r *http.Request) { r.Host = host }); w.Code != want {
			t.Errorf("host %q: %d, want %d", host, w.Code, want)
		}
	}
}

func TestErrors(t *testing.T) {
	m := sample()
	s := server(t, m, nil)
	for _, c := range []struct {
		err  error
		want int
		text string
	}{
		{fmt.Errorf("x: %w", api.ErrConflict), 409, `{"errors":["x: conflict"],"hints":[],"code":"CONFLICT","kind":"conflict"}`},
		{api.NewError(api.ErrUnavailable, "NO_LEADER", "nobody leads", "wait"), 503, `{"errors":["nobody leads"],"hints":["wait"],"code":"NO_LEADER","kind":"unavailable"}`},
		{fmt.Errorf("y: %w", api.NewError(api.ErrIncompatible, "Z", "z")), 422, `{"errors":["z"],"hints":[],"code":"Z","kind":"incompatible"}`},
		{errors.New("boom"), 500, `{"errors":["boom"],"hints":[],"code":"INTERNAL"}`},
	} {
		m.err = c.err
		w := do(s, "PATCH", "/jobs/"+jobA+"?mode=cancel", nil)
		if got := strings.TrimSpace(w.Body.String()); w.Code != c.want || got != c.text {
			t.Errorf("%v:\n got %d %s\nwant %d %s", c.err, w.Code, got, c.want, c.text)
		}
		var back api.Error
		if err := json.Unmarshal(w.Body.Bytes(), &back); err != nil || api.MarkOf(&back) != api.MarkOf(c.err) {
			t.Errorf("%v: read back as %v", c.err, api.MarkOf(&back))
		}
	}
	m.err = nil
	if w := do(s, "PATCH", "/jobs/"+jobA+"?mode=stop", nil); w.Code != 400 {
		t.Errorf("mode=stop: %d", w.Code)
	}
	if w := do(s, "PATCH", "/jobs/"+jobA, nil); w.Code != 202 || len(m.cancelled) != 5 {
		t.Errorf("cancel: %d, %d times", w.Code, len(m.cancelled))
	}
	m.checks[1] = api.Check{Name: "data folder", Detail: "disk is full"}
	if w := do(s, "GET", "/readyz", nil); w.Code != 503 || w.Body.String() != "[-] data folder failed: disk is full\nnot ready\n" {
		t.Errorf("readyz: %d %q", w.Code, w.Body)
	}
	if w := do(s, "GET", "/readyz?verbose", nil); !strings.HasPrefix(w.Body.String(), "[+] store ok\n[-] data") {
		t.Errorf("readyz?verbose: %q", w.Body)
	}
}

func TestPage(t *testing.T) {
	w := do(server(t, sample(), nil), "GET", "/", nil)
	text := w.Body.String()
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(text)
	if style == nil {
		t.Fatalf("no style in %s", text)
	}
	sum := sha256.Sum256([]byte(style[1]))
	policy := w.Header().Get("Content-Security-Policy")
	if !strings.Contains(policy, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") || !strings.HasPrefix(policy, "default-src 'none'") {
		t.Errorf("the policy %q does not allow the style sheet, or too much", policy)
	}
	if strings.Contains(text, "<b>") || !strings.Contains(text, "&lt;b&gt;sink") {
		t.Error("a name is not escaped")
	}
	if strings.Contains(text, "<script") || strings.Contains(text, "<no value>") {
		t.Error("the page has a script or a hole")
	}
	for _, want := range []string{"orders", "/data/chk-4", "disk full", "4.9 KiB", "words=18446744073709551615"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	if w := do(server(t, &model{lead: api.Leader{Self: true}}, nil), "GET", "/", nil); !strings.Contains(w.Body.String(), "No jobs") {
		t.Errorf("empty page: %s", w.Body)
	}
}

// submission builds a body; change may damage it.
func submission(head api.SubmissionHead, plan, binary []byte, names ...string) (string, io.Reader) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	h, _ := json.Marshal(head)
	for i, content := range [][]byte{h, plan, binary} {
		if i < len(names) {
			p, _ := w.CreateFormField(names[i])
			p.Write(content)
		}
	}
	w.Close()
	return w.FormDataContentType(), &b
}

func TestSubmit(t *testing.T) {
	m := sample()
	ts := httptest.NewServer(server(t, m, func(o *Options) { o.MaxBinary = 1000 }))
	defer ts.Close()
	good := []byte(strings.Repeat("x", 900))
	sum := sha256.Sum256(good)
	head := api.SubmissionHead{ID: jobA, Settings: map[string]string{"parallelism.default": "3"}, BinarySize: 900, BinarySHA256: hex.EncodeToString(sum[:]), GOARCH: "amd64"}
	all := []string{api.PartHead, api.PartPlan, api.PartBinary}
	for name, c := range map[string]struct {
		head   func(*api.SubmissionHead)
		plan   int
		binary []byte
		parts  []string
		want   int
		text   string
	}{
		"good":            {want: 202},
		"damaged":         {binary: append([]byte("y"), good[1:]...), want: 400, text: "another SHA-256"},
		"short":           {binary: good[:899], want: 400, text: "1 bytes of the binary are missing"},
		"long":            {binary: append([]byte("x"), good...), want: 400, text: "more bytes than announced"},
		"announced large": {head: func(h *api.SubmissionHead) { h.BinarySize = 1001 }, want: 413, text: "at most 1000 are allowed"},
		"plan too large":  {plan: maxPlan + 1, want: 413, text: "part plan has more than"},
		"bad id":          {head: func(h *api.SubmissionHead) { h.ID = "../x" }, want: 400, text: "job id"},
		"bad digest":      {head: func(h *api.SubmissionHead) { h.BinarySHA256 = "zz" }, want: 400, text: "no SHA-256"},
		"no size":         {head: func(h *api.SubmissionHead) { h.BinarySize = 0 }, want: 400, text: "has 0 bytes"},
		"wrong order":     {parts: []string{api.PartPlan, api.PartHead, api.PartBinary}, want: 400, text: "where head is expected"},
		"no binary":       {parts: all[:2], want: 400, text: "part binary is missing"},
	} {
		m.submitted, m.received = nil, nil
		h, b, parts, plan := head, good, all, []byte("plan")
		if c.head != nil {
			c.head(&h)
		}
		if c.binary != nil {
			b = c.binary
		}
		if c.parts != nil {
			parts = c.parts
		}
		if c.plan > 0 {
			plan = make([]byte, c.plan)
		}
		kind, body := submission(h, plan, b, parts...)
		resp, err := http.Post(ts.URL+"/jobs", kind, body)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.want || !strings.Contains(string(text), c.text) {
			t.Errorf("%s: %d %s, want %d %q", name, resp.StatusCode, text, c.want, c.text)
		}
		if accepted := m.received != nil; accepted != (c.want == 202) {
			t.Errorf("%s: cluster was given the binary: %v", name, accepted)
		}
		if c.want == 202 && (!bytes.Equal(m.received, good) || m.submitted.Settings["parallelism.default"] != "3" || string(m.submitted.Plan) != "plan") {
			t.Errorf("%s: cluster was given %+v", name, m.submitted)
		}
	}
}

func TestServeStops(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- server(t, sample(), nil).Serve(ctx, ln) }()
	resp, err := http.Get("http://" + ln.Addr().String() + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func orFirst(trigger string) string {
	if trigger == "" {
		return "t1"
	}
	return trigger
}
