package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// durationUnits are Flink's names of units, without the plural s.
var durationUnits = []struct {
	unit  time.Duration
	names []string // the first one is written
}{
	{24 * time.Hour, []string{"d", "day"}},
	{time.Hour, []string{"h", "hour"}},
	{time.Minute, []string{"min", "m", "minute"}},
	{time.Second, []string{"s", "sec", "second"}},
	{time.Millisecond, []string{"ms", "milli", "millisecond"}},
	{time.Microsecond, []string{"µs", "us", "micro", "microsecond"}},
	{time.Nanosecond, []string{"ns", "nano", "nanosecond"}},
}

var (
	errNegative = errors.New("is negative")
	errEmpty    = errors.New("is empty")
	errTooBig   = errors.New("is too large")
)

// ParseDuration reads Flink's form ("10 s", "1min", "7 d"; a number alone is in
// milliseconds, as there) and Go's ("1m30s"). Negative durations are refused.
func ParseDuration(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, errEmpty
	}
	digits := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		digits = len(s)
	}
	if unit := unitOf(strings.ToLower(strings.TrimSpace(s[digits:]))); digits > 0 && unit > 0 {
		n, err := strconv.ParseInt(s[:digits], 10, 64)
		if err != nil || n > math.MaxInt64/int64(unit) {
			return 0, errTooBig
		}
		return time.Duration(n) * unit, nil
	}
	d, err := time.ParseDuration(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		return 0, errors.New("is not a duration")
	}
	if d < 0 {
		return 0, errNegative
	}
	return d, nil
}

func unitOf(name string) time.Duration {
	if name == "" {
		return time.Millisecond
	}
	for _, u := range durationUnits {
		if slices.Contains(u.names, name) || len(name) > 3 && slices.Contains(u.names, strings.TrimSuffix(name, "s")) {
			return u.unit
		}
	}
	return 0
}

// FormatDuration writes d in the largest unit in which it is whole: "90 s", "1 min".
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0 ms"
	}
	for _, u := range durationUnits {
		if d%u.unit == 0 {
			return strconv.FormatInt(int64(d/u.unit), 10) + " " + u.names[0]
		}
	}
	return d.String()
}

// memoryUnits are powers of 1024, as Flink's.
var memoryUnits = []struct {
	unit  int64
	names []string // the first one is written
}{
	{1 << 40, []string{"tb", "t", "tib", "tebibytes"}},
	{1 << 30, []string{"gb", "g", "gib", "gibibytes"}},
	{1 << 20, []string{"mb", "m", "mib", "mebibytes"}},
	{1 << 10, []string{"kb", "k", "kib", "kibibytes"}},
	{1, []string{"b", "bytes", ""}},
}

// ParseMemory reads a number of bytes: "512m", "1gb", "1 GiB", "4096". Units are
// powers of 1024, as Flink's.
func ParseMemory(s string) (int64, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, errEmpty
	}
	digits := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		digits = len(s)
	}
	name := strings.ToLower(strings.TrimSpace(s[digits:]))
	for _, u := range memoryUnits {
		if digits == 0 || !slices.Contains(u.names, name) {
			continue
		}
		n, err := strconv.ParseInt(s[:digits], 10, 64)
		if err != nil || n > math.MaxInt64/u.unit {
			return 0, errTooBig
		}
		return n * u.unit, nil
	}
	return 0, errors.New("is not a size")
}

// FormatMemory writes n bytes in the largest unit in which they are whole.
func FormatMemory(n int64) string {
	for _, u := range memoryUnits {
		if n != 0 && n%u.unit == 0 {
			return strconv.FormatInt(n/u.unit, 10) + u.names[0]
		}
	}
	return "0b"
}

func parseInt(s string, least, most int) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, errTooBig
	case err != nil:
		return 0, errors.New("is not a whole number")
	case n < least:
		return 0, fmt.Errorf("is less than %d", least)
	case n > most:
		return 0, fmt.Errorf("is more than %d", most)
	}
	return n, nil
}

func parseFloat(s string, least float64) (float64, error) {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	switch {
	case err != nil || math.IsNaN(f) || math.IsInf(f, 0):
		return 0, errors.New("is not a number")
	case f < least:
		return 0, fmt.Errorf("is less than %g", least)
	}
	return f, nil
}

func parseString(s string) (string, error) {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", errors.New("has a control character")
	}
	return strings.TrimSpace(s), nil
}

func parseList(s string) ([]string, error) {
	if _, err := parseString(s); err != nil {
		return nil, err
	}
	var list []string
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ',' || r == ';' }) {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list, nil
}

func parseEnum(s string, values []string, other map[string]string) (string, error) {
	s = strings.TrimSpace(s)
	for _, v := range values {
		if strings.EqualFold(s, v) {
			return v, nil
		}
	}
	for word, means := range other {
		if !strings.EqualFold(s, word) {
			continue
		}
		if reason, refused := strings.CutPrefix(means, "!"); refused {
			return "", errors.New(reason)
		}
		return means, nil
	}
	return "", errors.New("is not known")
}
