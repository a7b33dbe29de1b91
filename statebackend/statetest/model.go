package statetest

import (
	"maps"
	"slices"
)

// Model is what keyed state should hold, by key.
type Model struct {
	Num   map[string]int64
	Text  map[string]string
	List  map[string][]string
	Dict  map[string]map[string]int64
	Timer map[string]map[int64]bool
}

// NewModel returns an empty Model.
func NewModel() *Model {
	return &Model{
		Num: map[string]int64{}, Text: map[string]string{}, List: map[string][]string{},
		Dict: map[string]map[string]int64{}, Timer: map[string]map[int64]bool{},
	}
}

// Clone returns a deep copy: what a cut holds.
func (m *Model) Clone() *Model {
	c := NewModel()
	maps.Copy(c.Num, m.Num)
	maps.Copy(c.Text, m.Text)
	for k, v := range m.List {
		c.List[k] = slices.Clone(v)
	}
	for k, v := range m.Dict {
		c.Dict[k] = maps.Clone(v)
	}
	for k, v := range m.Timer {
		c.Timer[k] = maps.Clone(v)
	}
	return c
}

func inner[K comparable, V any](m map[string]map[K]V, k string) map[K]V {
	if m[k] == nil {
		m[k] = map[K]V{}
	}
	return m[k]
}
