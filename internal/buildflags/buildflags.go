// Package buildflags owns Weir's version and the flags with which its binaries and
// job binaries are built. The Makefile includes flags.mk, `weir run PKG` and the
// tests that build binaries call Command: so the same source gives the same bytes
// whoever builds it, and a job built by `weir run` meets the runtime it expects.
//
// It never runs a build itself. No goroutines, no state. Read flags.mk first.
package buildflags

import (
	_ "embed"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
)

//go:embed flags.mk
var text string

var values = sync.OnceValue(func() map[string]string { return parse(text) })

// parse reads lines of the form NAME := value; others are comments or empty.
func parse(text string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, ":="); ok && !strings.HasPrefix(line, "#") {
			m[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return m
}

// Version returns Weir's version, e.g. "0.1.0-dev". Two binaries speak the same
// dialect of every protocol if it is equal.
func Version() string { return values()["VERSION"] }

// SameMinor reports whether two versions are of one minor version, as 0.1.2 and
// 0.1.7-dev are: a job program embeds the runtime, and must be of the cluster's.
func SameMinor(a, b string) bool { return minor(a) == minor(b) }

// minor is "0.1" of "0.1.2-dev".
func minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// Commit returns the revision this binary was built from, with a "+" if the tree was
// changed, or "" if the build did not record it.
func Commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var revision, modified string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				modified = "+"
			}
		}
	}
	if revision == "" {
		return ""
	}
	return revision + modified
}

// Args returns what stands between `go build` and its package.
func Args() []string {
	args := strings.Fields(values()["BUILD_FLAGS"])
	if ld := values()["LDFLAGS"]; ld != "" {
		args = append(args, "-ldflags="+ld)
	}
	return args
}

// Env returns base with the settings of a build added.
func Env(base []string) []string {
	env := append([]string{}, base...)
	env = append(env, strings.Fields(values()["BUILD_ENV"])...)
	return append(env, "GOTOOLCHAIN=auto")
}

// Command returns the command that builds the main package pkg into the file out.
// The caller sets Dir and the outputs, and runs it.
func Command(pkg, out string) *exec.Cmd {
	args := append([]string{"build"}, Args()...)
	cmd := exec.Command("go", append(args, "-o", out, pkg)...)
	cmd.Env = Env(os.Environ())
	return cmd
}
