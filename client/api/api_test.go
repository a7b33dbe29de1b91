package api

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestResultJSON(t *testing.T) {
	r := Result{DurationMS: 5, ClosingLine: "x", Sums: map[string]uint64{"n": 1<<64 - 1, "duration-ms": 9}, Texts: map[string]string{"p": "1"}}
	b, err := json.Marshal(r)
	if want := `{"closing-line":"x","duration-ms":5,"n":18446744073709551615,"p":"1"}`; err != nil || string(b) != want {
		t.Fatalf("%v\n got %s\nwant %s", err, b, want)
	}
	var back Result
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	delete(r.Sums, "duration-ms") // no result can take this name
	if d := cmp.Diff(r, back); d != "" {
		t.Errorf("read back (-want +got):\n%s", d)
	}
	for _, bad := range []string{`[]`, `{"n":-1}`, `{"n":1.5}`, `{"duration-ms":"x"}`} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestStateOf(t *testing.T) {
	for _, c := range []struct {
		states []string
		want   string
	}{
		{nil, "CREATED"},
		{[]string{"RUNNING", "FINISHED"}, "RUNNING"},
		{[]string{"FINISHED", "FINISHED"}, "FINISHED"},
		{[]string{"RUNNING", "DEPLOYING"}, "DEPLOYING"},
		{[]string{"RUNNING", "FAILED"}, "FAILED"},
		{[]string{"RUNNING", "CANCELING"}, "CANCELING"},
		{[]string{"unknown"}, "CREATED"},
	} {
		var subtasks []Subtask
		for _, s := range c.states {
			subtasks = append(subtasks, Subtask{State: s})
		}
		if got := StateOf(subtasks); got != c.want {
			t.Errorf("%v: %s, want %s", c.states, got, c.want)
		}
	}
}

func TestErrorKeepsItsMark(t *testing.T) {
	for _, mark := range marks {
		b, err := json.Marshal(NewError(mark, "CODE", "text"))
		if err != nil {
			t.Fatal(err)
		}
		var e Error
		if err := json.Unmarshal(b, &e); err != nil || !errors.Is(&e, mark) || MarkOf(&e) != mark {
			t.Errorf("%v is read back as %v (%v)", mark, MarkOf(&e), err)
		}
	}
}
