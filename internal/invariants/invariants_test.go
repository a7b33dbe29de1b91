package invariants

import (
	"testing"
	"unsafe"
)

func panicText(f func()) (text string) {
	defer func() {
		if r := recover(); r != nil {
			text = r.(string)
		}
	}()
	f()
	return ""
}

func TestCheck(t *testing.T) {
	if got := panicText(func() { Check("I10", true, "unused") }); got != "" {
		t.Errorf("held, yet panicked: %s", got)
	}
	got := panicText(func() { Check("I10", false, "ack of %d for %d", 7, 6) })
	if want := "weir: BUG: I10: ack of 7 for 6"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestGrades(t *testing.T) {
	var o Owned
	o.Touch()
	if size := unsafe.Sizeof(o); (size > 0) != Enabled {
		t.Errorf("Owned takes %d bytes with Enabled = %v", size, Enabled)
	}
	var c CloseOnce
	c.Close("gate")
	if got := panicText(func() { c.Close("gate") }); (got == "weir: BUG: close: gate closed twice") != Enabled {
		t.Errorf("second close: %q with Enabled = %v", got, Enabled)
	}
	b := []byte("abc")
	Mangle(b)
	if (string(b) != "abc") != Enabled {
		t.Errorf("mangled to %q with Enabled = %v", b, Enabled)
	}
	hits := 0
	for range 1000 {
		if Sometimes(50) {
			hits++
		}
	}
	if (hits > 300 && hits < 700) != Enabled || (!Enabled && hits != 0) {
		t.Errorf("Sometimes(50): %d of 1000 with Enabled = %v", hits, Enabled)
	}
}
