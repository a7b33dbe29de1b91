package sendqueue

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
)

// TestBounded: a peer that does not read is given up, not remembered for ever.
func TestBounded(t *testing.T) {
	q := New[int]()
	for i := range Capacity {
		if !q.Put(i) {
			t.Fatalf("refused after %d", i)
		}
	}
	if q.Put(0) {
		t.Error("the queue grows beyond its bound")
	}
	q.Close()
	n := 0
	if err := q.Drain(nil, func(int) error { n++; return nil }); err != nil || n != Capacity || !q.Put(1) {
		t.Errorf("handed out %d of %d (%v)", n, Capacity, err)
	}
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []int
		drain := func(q *Queue[int], stop chan struct{}) <-chan error {
			ended := make(chan error, 1)
			go func() {
				ended <- q.Drain(stop, func(v int) error {
					if v < 0 {
						return errors.New("broken")
					}
					got = append(got, v)
					return nil
				})
			}()
			return ended
		}
		q, stop := New[int](), make(chan struct{})
		ended := drain(q, stop)
		for i := range 3 {
			q.Put(i)
			synctest.Wait()
		}
		close(stop)
		if err := <-ended; err != nil || !slices.Equal(got, []int{0, 1, 2}) {
			t.Errorf("sent %v (%v)", got, err)
		}
		q.Put(-1)
		if err := <-drain(q, nil); err == nil {
			t.Error("a broken stream is not noticed")
		}
		ended = drain(q, nil)
		synctest.Wait()
		q.Close() // wakes it
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
