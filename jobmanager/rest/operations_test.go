package rest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir/client/api"
)

// Requests have Flink's forms; an empty body is a request that leaves everything open.
func TestOperations(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		answer             string // part of it
		asked              any
	}{
		"savepoint":  {"POST", "/savepoints", `{"target-directory":"/sp","cancel-job":true,"formatType":"NATIVE","triggerId":"abc"}`, 202, `{"request-id":"abc"}`, api.SavepointRequest{TriggerID: "abc", TargetDirectory: "/sp", CancelJob: true, FormatType: "NATIVE"}},
		"no body":    {"POST", "/savepoints", ``, 202, `{"request-id":"t1"}`, api.SavepointRequest{}},
		"stop":       {"POST", "/stop", `{"targetDirectory":"/sp","drain":true}`, 202, `{"request-id":"t1"}`, api.StopRequest{TargetDirectory: "/sp", Drain: true}},
		"checkpoint": {"POST", "/checkpoints", `{"checkpointType":"FULL"}`, 202, `{"request-id":"t1"}`, api.CheckpointRequest{CheckpointType: "FULL"}},
		"rescale":    {"PATCH", "/rescaling?parallelism=3", ``, 202, `{"request-id":"t1"}`, api.RescaleRequest{Parallelism: 3}},
		"by uid":     {"PATCH", "/rescaling", `{"operators":{"count":5}}`, 202, `{"request-id":"t1"}`, api.RescaleRequest{Operators: map[string]int{"count": 5}}},
		"no number":  {"PATCH", "/rescaling?parallelism=many", ``, 400, "BAD_PARALLELISM", nil},
		"no JSON":    {"POST", "/stop", `drain`, 400, "BAD_REQUEST", nil},
		"too large":  {"POST", "/stop", `{"x":"` + strings.Repeat("y", smallBody) + `"}`, 413, "BODY_TOO_LARGE", nil},
		"running":    {"GET", "/savepoints/running", ``, 200, `"progress":{"phase":"checkpoint","subtasks":4,"acked":1}`, nil},
		"failed":     {"GET", "/checkpoints/failed", ``, 200, `"failure-cause":{"class":"CHECKPOINT_FAILED","stack-trace":"disk full"`, nil},
		"unknown":    {"GET", "/rescaling/nothing", ``, 404, "NOT_FOUND", nil},
		"no vertex":  {"GET", "/checkpoints/details/4/subtasks/7", ``, 404, "VERTEX_NOT_FOUND", nil},
		"no id":      {"GET", "/checkpoints/details/x", ``, 400, "BAD_CHECKPOINT_ID", nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := sample()
			r, err := http.NewRequest(c.method, "http://localhost/jobs/"+jobA+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			w := do(server(t, m, nil), c.method, "/jobs/"+jobA+c.path, func(q *http.Request) { q.Body, q.ContentLength = r.Body, r.ContentLength })
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.answer) {
				t.Errorf("%d %s, want %d with %s", w.Code, w.Body, c.status, c.answer)
			}
			if c.asked == nil {
				if len(m.asked) > 0 {
					t.Errorf("the cluster was asked for %+v", m.asked)
				}
				return
			}
			if d := cmp.Diff([]any{c.asked}, m.asked); d != "" {
				t.Errorf("the cluster was asked (-want +got):\n%s", d)
			}
		})
	}
}
