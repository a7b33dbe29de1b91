package api

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Result is what a job that has ended leaves behind. In JSON the named results stand
// beside duration-ms and closing-line in one object: sums as numbers (all 64 bits of
// them), texts as strings.
type Result struct {
	DurationMS  int64
	ClosingLine string // filled in; "" if the program has none
	Sums        map[string]uint64
	Texts       map[string]string
}

// Names in Result's JSON that no named result can take.
const (
	resultDuration = "duration-ms"
	resultClosing  = "closing-line"
)

// MarshalJSON implements json.Marshaler.
func (r Result) MarshalJSON() ([]byte, error) {
	m := make(map[string]any, len(r.Sums)+len(r.Texts)+2)
	for name, v := range r.Sums {
		m[name] = v
	}
	for name, v := range r.Texts {
		m[name] = v
	}
	m[resultDuration] = r.DurationMS
	m[resultClosing] = r.ClosingLine
	return json.Marshal(m)
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Result) UnmarshalJSON(b []byte) error {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("decode result (%d bytes): %w", len(b), err)
	}
	*r = Result{Sums: map[string]uint64{}, Texts: map[string]string{}}
	for name, raw := range m {
		var err error
		switch {
		case name == resultDuration:
			err = json.Unmarshal(raw, &r.DurationMS)
		case name == resultClosing:
			err = json.Unmarshal(raw, &r.ClosingLine)
		case len(raw) > 0 && raw[0] == '"':
			var text string
			err = json.Unmarshal(raw, &text)
			r.Texts[name] = text
		default:
			r.Sums[name], err = strconv.ParseUint(string(raw), 10, 64)
		}
		if err != nil {
			return fmt.Errorf("decode result %q: %w", name, err)
		}
	}
	return nil
}
