package task

import (
	"errors"
	"testing"
)

// A hidden operator is called by what users know: its source.
func TestFailureOfAnEnumerator(t *testing.T) {
	for uid, want := range map[string]string{
		"lines#splits": `enumerator of "lines": no such folder`,
		"lines":        `operator "lines", subtask 0 of 1: no such folder`,
	} {
		f := &Failure{UID: uid, Parallelism: 1, Err: errors.New("no such folder")}
		if f.Error() != want {
			t.Errorf("%s: %s", uid, f)
		}
	}
}
