package demo

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
