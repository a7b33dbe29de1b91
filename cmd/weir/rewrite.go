package main

import (
	"slices"
	"strings"
)

// flinkTokens are words of Flink's command line that a flag parser would take for
// something else (a long flag after one dash), and other spellings, and ours.
var flinkTokens = map[string]string{
	"-detached":                "--detached",
	"-dcp":                     "--detached",
	"-yd":                      "--detached",
	"-yid":                     "--yarnapplicationId",
	"-parallelism":             "--parallelism",
	"-jobmanager":              "--jobmanager",
	"-restoreMode":             "--restore-mode",
	"-claimMode":               "--restore-mode",
	"-rm":                      "--restore-mode",
	"--restoreMode":            "--restore-mode",
	"--claimMode":              "--restore-mode",
	"--claim-mode":             "--restore-mode",
	"-allowNonRestoredState":   "--allowNonRestoredState",
	"--allow-nonrestored":      "--allowNonRestoredState",
	"--allowNonrestoredState":  "--allowNonRestoredState",
	"--allow-nonrestoredstate": "--allowNonRestoredState",
	"-fromSavepoint":           "--fromSavepoint",
	"--from-savepoint":         "--fromSavepoint",
	"-savepointPath":           "--savepointPath",
	"--savepoint-path":         "--savepointPath",
	"-withSavepoint":           "--withSavepoint",
	"--with-savepoint":         "--withSavepoint",
	"-dispose":                 "--dispose",
	"-type":                    "--type",
	"-drain":                   "--drain",
	"-full":                    "--full",
	"-version":                 "--version",
	"-help":                    "--help",
	"-running":                 "--running",
	"-all":                     "--all",
	"-output":                  "--output",
}

// optionalValue are flags whose value may be left out, by verb, and their long names:
// `cancel JOB -s`. A flag parser either always takes the next word or never.
var optionalValue = map[string]map[string]string{
	"cancel": {"-s": "--withSavepoint", "--withSavepoint": "--withSavepoint"},
	"stop":   {"-p": "--savepointPath", "--savepointPath": "--savepointPath"},
}

// verbOf is the first word that is neither a flag of all commands nor its value.
func verbOf(args []string) string {
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "-m" || a == "-o" || a == "--jobmanager" || a == "--output":
			i++
		case !strings.HasPrefix(a, "-"):
			return a
		}
	}
	return ""
}

// rewrite replaces Flink's spellings in a command line, up to the arguments of the
// program.
func rewrite(args []string) []string {
	out := slices.Clone(args)
	optional := optionalValue[verbOf(args)]
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
		if long := optional[out[i]]; long != "" && (i+1 == len(out) || strings.HasPrefix(out[i+1], "-")) {
			out[i] = long + "="
		}
	}
	return out
}
