package buildflags

import (
	"slices"
	"strings"
	"testing"
)

// Each name that make reads must stand in the file, or make and Go would drift apart
// silently.
func TestNames(t *testing.T) {
	for _, name := range []string{"VERSION", "BUILD_FLAGS", "LDFLAGS", "BUILD_ENV"} {
		if values()[name] == "" {
			t.Errorf("flags.mk sets no %s", name)
		}
	}
	if len(values()) != 4 {
		t.Errorf("flags.mk sets names that no one reads: %v", values())
	}
}

func TestCommand(t *testing.T) {
	cmd := Command("./cmd/weir", "bin/weir")
	if got, want := strings.Join(cmd.Args, "|"), "go|build|-trimpath|-ldflags=-s -w|-o|bin/weir|./cmd/weir"; got != want {
		t.Errorf("args\n got %s\nwant %s", got, want)
	}
	if !slices.Contains(cmd.Env, "CGO_ENABLED=0") || !slices.Contains(cmd.Env, "GOTOOLCHAIN=auto") {
		t.Errorf("environment lacks CGO_ENABLED=0 or GOTOOLCHAIN=auto")
	}
}

func TestParseIgnoresComments(t *testing.T) {
	got := parse("# A := b\nC := d e \n\n")
	if len(got) != 1 || got["C"] != "d e" {
		t.Errorf("got %q", got)
	}
}
