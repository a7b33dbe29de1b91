//go:build !race && !invariants

package invariants

// Enabled says whether the costly checks are compiled in.
const Enabled = false

// Owned is embedded by types that one goroutine owns. It takes no room here; put it
// first, as a trailing empty field costs a word.
type Owned struct{}

// Touch does nothing here; see on.go.
func (*Owned) Touch() {}

// CloseOnce finds a second Close in test builds.
type CloseOnce struct{}

// Close does nothing here; see on.go.
func (*CloseOnce) Close(string) {}

// Sometimes is false: rare paths are taken when they are due.
func Sometimes(int) bool { return false }

// Mangle does nothing here; see on.go.
func Mangle([]byte) {}
