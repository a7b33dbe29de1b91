//go:build race || invariants

package invariants

import "math/rand/v2"

// Enabled says whether the costly checks are compiled in.
const Enabled = true

// Owned is embedded by types that one goroutine owns.
type Owned struct{ canary uint8 }

// Touch writes a plain byte: if two goroutines touch without synchronisation, the race
// detector names both. Call it wherever the owner enters.
func (o *Owned) Touch() { o.canary++ }

// CloseOnce finds a second Close.
type CloseOnce struct{ closed bool }

// Close panics when it is called again.
func (c *CloseOnce) Close(what string) {
	if c.closed {
		fail("close", "%s closed twice", what)
	}
	c.closed = true
}

// Sometimes is true in about percent of 100 calls: for steering a test build into rare
// paths (spill early, split now).
func Sometimes(percent int) bool { return rand.IntN(100) < percent }

// Mangle overwrites a buffer that goes back to its pool, so that whoever kept a slice
// of it reads nonsense at once instead of now and then.
func Mangle(b []byte) {
	for i := range b {
		b[i] = 0xCC
	}
}
