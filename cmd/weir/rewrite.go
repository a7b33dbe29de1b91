package main

import (
	"slices"
	"strings"
)

// flinkTokens are words of Flink's command line that a flag parser would take for
// something else (a long flag after one dash), and ours.
var flinkTokens = map[string]string{
	"-detached":                "--detached",
	"-yd":                      "--detached",
	"-parallelism":             "--parallelism",
	"-jobmanager":              "--jobmanager",
	"-restoreMode":             "--restoreMode",
	"-claimMode":               "--claimMode",
	"-rm":                      "--restoreMode",
	"-allowNonRestoredState":   "--allowNonRestoredState",
	"-fromSavepoint":           "--fromSavepoint",
	"-version":                 "--version",
	"-help":                    "--help",
	"-running":                 "--running",
	"-all":                     "--all",
	"-output":                  "--output",
	"--allow-nonrestored":      "--allowNonRestoredState",
	"--from-savepoint":         "--fromSavepoint",
	"--restore-mode":           "--restoreMode",
	"--claim-mode":             "--claimMode",
	"--allowNonrestoredState":  "--allowNonRestoredState",
	"--allow-nonrestoredstate": "--allowNonRestoredState",
}

// rewrite replaces Flink's spellings in a command line, up to the arguments of the
// program.
func rewrite(args []string) []string {
	out := slices.Clone(args)
	for i, a := range out {
		if a == "--" {
			break
		}
		name, value, has := strings.Cut(a, "=")
		if ours, ok := flinkTokens[name]; ok {
			out[i] = ours
			if has {
				out[i] += "=" + value
			}
		}
	}
	return out
}
