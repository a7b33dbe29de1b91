package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/knadh/koanf/parsers/yaml"
)

// outputs are the forms of -o. JSON, JSON lines and YAML are of the views of package
// client/api and stable; tables are for people and may change.
var outputs = []string{"table", "wide", "json", "jsonl", "yaml", "name"}

// structured writes v in the form asked for, if that is one for programs. list says
// that v is a slice whose elements stand for themselves.
func (c *cli) structured(v any, names []string) (done bool, err error) {
	switch c.output {
	case "json":
		return true, writeJSON(c.stdout, v, "  ")
	case "jsonl":
		return true, eachElement(v, func(e any) error { return writeJSON(c.stdout, e, "") })
	case "yaml":
		first := true
		return true, eachElement(v, func(e any) error {
			if !first {
				fmt.Fprintln(c.stdout, "---")
			}
			first = false
			return writeYAML(c.stdout, e)
		})
	case "name":
		for _, n := range names {
			fmt.Fprintln(c.stdout, n)
		}
		return true, nil
	}
	return false, nil
}

// eachElement calls f for each element of a slice, or for v itself.
func eachElement(v any, f func(any) error) error {
	list := reflect.ValueOf(v)
	if list.Kind() != reflect.Slice {
		return f(v)
	}
	for i := range list.Len() {
		if err := f(list.Index(i).Interface()); err != nil {
			return err
		}
	}
	return nil
}

func writeJSON(w io.Writer, v any, indent string) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// writeYAML writes v with the names of its JSON.
func writeYAML(w io.Writer, v any) error {
	var b bytes.Buffer
	if err := writeJSON(&b, v, ""); err != nil {
		return err
	}
	d := json.NewDecoder(&b)
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	text, err := yaml.Parser().Marshal(plainNumbers(m).(map[string]any))
	if err == nil {
		_, err = w.Write(text)
	}
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// plainNumbers gives numbers Go types, so that YAML does not take them for texts.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = plainNumbers(e)
		}
	case []any:
		for i, e := range v {
			v[i] = plainNumbers(e)
		}
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n
		}
		if n, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	}
	return v
}

// table writes rows in columns; the first row is the heading. Rows may lack cells at
// their end.
func (c *cli) table(rows [][]string) {
	var widths []int
	for _, r := range rows {
		for i, cell := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, r := range rows {
		var line strings.Builder
		for i, cell := range r {
			line.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		fmt.Fprintln(c.stdout, strings.TrimRight(line.String(), " "))
	}
}

// oneLine is the first line of a text that may have several.
func oneLine(s string) string {
	first, _, _ := strings.Cut(s, "\n")
	return first
}

// since writes a duration of ms for people.
func since(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d < time.Second:
		return d.String()
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// clock writes an instant for people.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// size writes a number of bytes for people.
func size(n uint64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, u := float64(n)/(1<<10), 0
	for f >= 1<<10 && u < 4 {
		f, u = f/(1<<10), u+1
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[u])
}
