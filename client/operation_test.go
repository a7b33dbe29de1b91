package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/client/api"
)

// discard takes what the test server has to say about handshakes.
var discard = log.New(io.Discard, "", 0)

const trigger = "00000000000000000000000000000001"

// Each request has Flink's path and form.
func TestOperationRequests(t *testing.T) {
	var got []string
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v, %v", r.URL, err, r.Header)
		}
		got = append(got, r.Method+" "+r.URL.Path+" "+string(b))
		answer(w, 202, api.Triggered{RequestID: trigger})
	}))
	defer ts.Close()
	c := client(t, Options{Address: ts.URL})
	for _, start := range []func(context.Context) (Operation, error){
		func(ctx context.Context) (Operation, error) {
			return c.Savepoint(ctx, id, api.SavepointRequest{TriggerID: trigger, TargetDirectory: "/sp", FormatType: api.FormatNative, CancelJob: true})
		},
		func(ctx context.Context) (Operation, error) {
			return c.Stop(ctx, id, api.StopRequest{TriggerID: trigger, TargetDirectory: "/sp", Drain: true})
		},
		func(ctx context.Context) (Operation, error) {
			return c.Checkpoint(ctx, id, api.CheckpointRequest{TriggerID: trigger, CheckpointType: api.CheckpointFull})
		},
		func(ctx context.Context) (Operation, error) {
			return c.Rescale(ctx, id, api.RescaleRequest{TriggerID: trigger, Operators: map[string]int{"count": 3}})
		},
		func(ctx context.Context) (Operation, error) {
			return c.Dispose(ctx, api.DisposalRequest{TriggerID: trigger, Path: "/sp/savepoint-1"})
		},
	} {
		if o, err := start(t.Context()); err != nil || o.ID != trigger {
			t.Errorf("%+v, %v", o, err)
		}
	}
	want := []string{
		`POST /jobs/` + id + `/savepoints {"triggerId":"` + trigger + `","target-directory":"/sp","formatType":"NATIVE","cancel-job":true}`,
		`POST /jobs/` + id + `/stop {"triggerId":"` + trigger + `","targetDirectory":"/sp","drain":true}`,
		`POST /jobs/` + id + `/checkpoints {"triggerId":"` + trigger + `","checkpointType":"FULL"}`,
		`PATCH /jobs/` + id + `/rescaling {"triggerId":"` + trigger + `","operators":{"count":3}}`,
		`POST /savepoint-disposal {"triggerId":"` + trigger + `","savepoint-path":"/sp/savepoint-1"}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("sent\n%s", strings.Join(got, "\n"))
	}
}

// A request whose answer was lost is sent again under the same id; the watch outlives
// the leader.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ids, paths []string
		n := 0
		c := client(t, Options{Address: "10.0.0.1:1", HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			n++
			a := httptest.NewRecorder()
			if r.Method == "POST" {
				var s api.SavepointRequest
				if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
					t.Error(err)
				}
				ids = append(ids, s.TriggerID)
				if n == 1 {
					return nil, errors.New("connection reset")
				}
				answer(a, 202, api.Triggered{RequestID: s.TriggerID})
				return a.Result(), nil
			}
			paths = append(paths, r.URL.Path)
			switch {
			case n < 6:
				answer(a, 200, api.InProgress(api.OperationProgress{Phase: api.PhaseCopy, Bytes: 10, CopiedBytes: uint64(n)}))
			case n < 40: // the takeover takes longer than a request waits
				answer(a, 503, api.NewError(api.ErrUnavailable, "NO_LEADER", "nobody leads"))
			default:
				answer(a, 200, api.Completed(api.OperationResult{Location: "/sp/savepoint-1", CheckpointID: 7}))
			}
			return a.Result(), nil
		})}})
		o, err := c.Savepoint(t.Context(), id, api.SavepointRequest{})
		if err != nil || len(ids) != 2 || ids[0] != ids[1] || o.ID != ids[0] {
			t.Fatalf("%+v, %v, sent under %q", o, err, ids)
		}
		var seen []uint64
		r, err := c.Watch(t.Context(), o, func(p api.OperationProgress) { seen = append(seen, p.CopiedBytes) })
		if err != nil || r.Location != "/sp/savepoint-1" || r.CheckpointID != 7 || !slices.Equal(seen, []uint64{3, 4, 5}) {
			t.Errorf("%+v, %v, seen %v", r, err, seen)
		}
		if paths[0] != "/jobs/"+id+"/savepoints/"+o.ID {
			t.Errorf("looked at %s", paths[0])
		}
	})
}

// A failure is the same error, with its mark, on both sides; Flink's form of it is read too.
func TestOperationFailure(t *testing.T) {
	failed := api.FailedOperation(api.NewError(api.ErrConflict, "JOB_NOT_RUNNING", "job is RESTARTING", "weir wait"))
	for _, o := range []*api.Operation{
		failed,
		{Status: api.OperationStatus{ID: api.OperationCompleted}, Result: &api.OperationResult{CheckpointFailureCause: failed.Result.FailureCause}},
	} {
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		var back api.Operation
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		_, ended, err := back.Ended()
		if e := (*api.Error)(nil); !ended || !errors.As(err, &e) || !errors.Is(err, api.ErrConflict) || e.Code != "JOB_NOT_RUNNING" || e.Hints[0] != "weir wait" {
			t.Errorf("%s is read as %v", b, err)
		}
	}
	var flinks api.Operation
	text := `{"status":{"id":"COMPLETED"},"operation":{"failure-cause":{"class":"X","stack-trace":"it broke","serialized-throwable":""}}}`
	if err := json.Unmarshal([]byte(text), &flinks); err != nil {
		t.Fatal(err)
	}
	if _, ended, err := flinks.Ended(); !ended || err == nil || err.Error() != "it broke" {
		t.Errorf("%v", err)
	}
}

// A certificate, or TLS on one side only, is said at once and not tried again: this test
// would take an hour.
func TestWrongDoor(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, 200, api.Overview{}) })
	secure, plain := httptest.NewUnstartedServer(h), httptest.NewServer(h)
	secure.Config.ErrorLog = discard
	secure.StartTLS()
	defer secure.Close()
	defer plain.Close()
	for _, c := range []struct {
		address, code, message, hint string
		mark                         error
	}{
		{"http://" + secure.Listener.Addr().String(), "TLS_REQUIRED", "speaks TLS only", "-m https://127.0.0.1:", api.ErrInvalid},
		{"https://" + plain.Listener.Addr().String(), "NO_TLS", "does not speak TLS", "-m 127.0.0.1:", api.ErrInvalid},
		{secure.URL, "BAD_CERTIFICATE", "does not know who signed it", "SSL_CERT_FILE=", api.ErrDenied},
	} {
		_, err := client(t, Options{Address: c.address, Wait: time.Hour}).Overview(t.Context())
		var e *api.Error
		if !errors.As(err, &e) || e.Code != c.code || !errors.Is(err, c.mark) || !strings.Contains(e.Error(), c.message) || len(e.Hints) != 1 || !strings.Contains(e.Hints[0], c.hint) {
			t.Errorf("%s: %+v", c.address, err)
		}
	}
	// A name that the certificate is not for.
	named := client(t, Options{Address: strings.Replace(secure.URL, "127.0.0.1", "localhost", 1), HTTP: secure.Client()})
	if _, err := named.Overview(t.Context()); err == nil || !strings.Contains(err.Error(), "is not accepted: certificate is valid for example.com,") {
		t.Errorf("another name: %v", err)
	}
}
