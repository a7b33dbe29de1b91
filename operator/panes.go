package operator

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/table"
)

// Names of the states of windows; see operator/windowing.
const (
	// WindowsState are the windows that a key has: table.List.
	WindowsState = reservedPrefix + "windows"
	// PanesState is what is in each of them.
	PanesState = reservedPrefix + "panes"
	// RightPanesState is what is in each of them of the second stream, if there are two.
	RightPanesState = reservedPrefix + "right-panes"
	// TriggersState is what a trigger keeps for each of them.
	TriggersState = reservedPrefix + "triggers"
)

// Names of the states of joins; see operator/joining.
const (
	// LeftState and RightState are what a join keeps of its streams, by bucket of time; the
	// width of the buckets stands behind the name: see BucketState.
	LeftState, RightState = reservedPrefix + "left", reservedPrefix + "right"
	// PendingState are records that wait for their time.
	PendingState = reservedPrefix + "pending"
	// VersionsState are versions that time has not come to, CurrentState is the last that it
	// has.
	VersionsState, CurrentState = reservedPrefix + "versions", reservedPrefix + "current"
)

// BucketState is the name of a state in buckets of width ms: buckets of another width are
// another state.
func BucketState(name string, width int64) string { return name + "." + strconv.FormatInt(width, 10) }

// runtimeState reports whether a name with the reserved prefix is one that there is.
func runtimeState(name string) bool {
	if i := strings.LastIndexByte(name, '.'); i >= len(reservedPrefix) {
		_, err := strconv.ParseUint(name[i+1:], 10, 63)
		return err == nil && (name[:i] == LeftState || name[:i] == RightState)
	}
	return slices.Contains([]string{
		timersName, eventTimers, splitsName, requestsName, WindowsState, PanesState, RightPanesState, TriggersState,
		PendingState, VersionsState, CurrentState,
	}, name)
}

// Panes declares keyed state of one value for each key and time. For windows.
func (s *Setup) Panes[V any](name string) *table.Panes[V] {
	c, err := codec.In[V](s.o.Types)
	d, err := s.panes(name, err)
	if err == nil {
		d.ValueSchema = c.Schema()
	}
	if s.bind(&d, err) {
		p, err := table.NewPanes(s.o.Store, d, c)
		if err == nil {
			return p
		}
		s.fail(err)
	}
	return table.UnboundPanes[V](d)
}

// PaneList declares keyed state of a list for each key and time. For windows.
func (s *Setup) PaneList[E any](name string) *table.PaneList[E] {
	c, err := codec.In[E](s.o.Types)
	all, errAll := codec.In[[]E](s.o.Types)
	d, err := s.panes(name, errors.Join(err, errAll))
	if err == nil {
		d.ValueSchema = all.Schema()
	}
	if s.bind(&d, err) {
		p, err := table.NewPaneList(s.o.Store, d, c, all)
		if err == nil {
			return p
		}
		s.fail(err)
	}
	return table.UnboundPaneList[E](d)
}

func (s *Setup) panes(name string, err error) (statebackend.Descriptor, error) {
	d := statebackend.Descriptor{Name: name, Kind: metapb.StateKind_STATE_KIND_MAP}
	times, errTimes := codec.ForKey[int64]()
	if err = errors.Join(err, errTimes); err == nil {
		d.NamespaceSchema = times.Schema()
	}
	return d, err
}

// WindowValue is a value for each key and window, of a function that sees windows. It is
// always that of the window that fires; it is gone with its window.
type WindowValue[V any] struct {
	panes *table.Panes[V]
	setup *Setup
}

// WindowValue declares one. Sessions, which become one with others, have none.
func (s *Setup) WindowValue[V any](name string) *WindowValue[V] {
	if s.merging {
		s.fail(fmt.Errorf("operator %q declares state %q for each window, but sessions become one: there is no saying whose it would be", s.o.UID, name))
	}
	v := &WindowValue[V]{s.Panes[V](name), s}
	s.perWindow = append(s.perWindow, v.panes.Clear)
	return v
}

// Get returns the window's value; ok is false, and the value zero, if none was set.
func (v *WindowValue[V]) Get() (x V, ok bool) { return v.panes.Get(v.setup.windowID) }

// Set makes x the window's value.
func (v *WindowValue[V]) Set(x V) { v.panes.Set(v.setup.windowID, x) }

// Clear removes the window's value.
func (v *WindowValue[V]) Clear() { v.panes.Clear(v.setup.windowID) }

// MergingWindows says that windows become one with others. For operator/windowing, as the
// next two.
func (s *Setup) MergingWindows() { s.merging = true }

// SetWindow makes a window the one that WindowValues are of.
func (s *Setup) SetWindow(id int64) { s.windowID = id }

// ClearWindow clears all WindowValues of a window.
func (s *Setup) ClearWindow(id int64) {
	for _, clear := range s.perWindow {
		clear(id)
	}
}
