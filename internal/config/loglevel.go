package config

import (
	"fmt"
	"log/slog"
	"strings"
)

// ParseLogLevel is the level that the environment variable variable names with value; one that
// is none is refused, with the nearest.
func ParseLogLevel(variable, value string) (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(value)); err == nil {
		return l, nil
	}
	levels := []string{"debug", "info", "warn", "error"}
	hint := "one of " + strings.Join(levels, ", ") + " is possible"
	if near := Nearest(strings.ToLower(value), levels); near != "" {
		hint = "did you mean " + variable + "=" + near + "?"
	}
	return 0, fmt.Errorf("%s=%s is no level of a log; %s", variable, value, hint)
}
