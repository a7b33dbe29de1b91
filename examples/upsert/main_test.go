package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir/weirtest"
)

const changes = 200

// table is the join by its definition: the last version of every row of both tables.
func table() map[uint64]Row {
	names, all := map[uint64]string{}, map[uint64]Row{}
	for i := range uint64(changes) {
		if c := customer(i); c.Deleted {
			delete(names, c.ID)
		} else {
			names[c.ID] = c.Name
		}
	}
	for i := range uint64(changes) {
		o := order(i)
		name, known := names[o.Customer]
		if delete(all, o.ID); known && !o.Deleted {
			all[o.ID] = Row{Order: o.ID, Name: name, Cents: o.Cents}
		}
	}
	return all
}

// apply makes a table of its changes. A row that is deleted was there.
func apply(t *testing.T, rows []Row) map[uint64]Row {
	t.Helper()
	all := map[uint64]Row{}
	for _, r := range rows {
		if _, had := all[r.Order]; r.Deleted && !had {
			t.Errorf("order %d is deleted and was not there", r.Order)
		}
		if delete(all, r.Order); !r.Deleted {
			all[r.Order] = r
		}
	}
	return all
}

// TestJoin: whatever the order of the two tables' changes, their join is the same; so it is
// with a restore, at another parallelism, after every change.
func TestJoin(t *testing.T) {
	for name, turn := range map[string]func(i uint64) (first, both bool){
		"in turn":         func(uint64) (bool, bool) { return true, true },
		"customers first": func(i uint64) (bool, bool) { return i < changes, false },
		"orders first":    func(i uint64) (bool, bool) { return i >= changes, false },
	} {
		t.Run(name, func(t *testing.T) {
			h := weirtest.Connected(t, newJoin, func(c Customer) uint64 { return c.ID }, func(o Order) uint64 { return o.Customer })
			for i := range uint64(2 * changes) {
				first, both := turn(i)
				if both && i >= changes {
					break
				}
				if first {
					h.Push(h.Now(), weirtest.Left[Order](customer(i%changes)))
				}
				if !first || both {
					h.Push(h.Now(), weirtest.Right[Customer](order(i%changes)))
				}
				h.RestoreAt(int(i%3)+1, h.Snapshot())
			}
			if d := cmp.Diff(table(), apply(t, h.Output())); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestJob runs the program over the loss of a TaskManager.
func TestJob(t *testing.T) {
	var got []Row
	customers, orders := weirtest.NewFeed[Customer](t), weirtest.NewFeed[Order](t)
	j := weirtest.Run(t, build, weirtest.TaskManagers(2), weirtest.ReplaceSource("customers", customers),
		weirtest.ReplaceSource("orders", orders), weirtest.Capture("join-print", &got), weirtest.Setting("parallelism.default", "1"))
	for i := range uint64(changes) {
		if i == changes/2 {
			j.AwaitCheckpoint(1)
			j.KillTaskManager(0)
		}
		customers.Send(customer(i))
		orders.Send(order(i))
	}
	customers.End()
	orders.End()
	j.Wait()
	if d := cmp.Diff(table(), apply(t, got)); d != "" {
		t.Error(d)
	}
}
