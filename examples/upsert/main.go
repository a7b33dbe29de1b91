// Command upsert joins two tables that are known by their changes, as change data capture
// tells them: customers, and orders of customers. Its output is the changes of the join.
// Run it with `go run ./examples/upsert`, or on a cluster with `weir run ./examples/upsert`.
//
// A change is an upsert or a delete of a row, which goes by its primary key. Changes of one
// key must come in order, those of the two tables may come in any: after all of them the
// output says what a database's inner join would.
package main

import (
	"flag"
	"fmt"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
)

// Customer is a change of a row of the one table.
type Customer struct {
	ID      uint64
	Name    string
	Deleted bool
}

// Order is a change of a row of the other table. Its Customer never changes.
type Order struct {
	ID, Customer uint64
	Cents        int64
	Deleted      bool
}

// Row is a change of a row of the join.
type Row struct {
	Order   uint64
	Name    string
	Cents   int64
	Deleted bool
}

// String is what Print prints.
func (r Row) String() string {
	if r.Deleted {
		return fmt.Sprintf("- order %d", r.Order)
	}
	return fmt.Sprintf("+ order %d: %s, %d.%02d €", r.Order, r.Name, r.Cents/100, r.Cents%100)
}

func main() { weir.Main(build, weir.Checkpoint(time.Second)) }

func build(env *weir.Env) error {
	fs := flag.NewFlagSet("upsert", flag.ContinueOnError)
	changes := fs.Int64("changes", 30, "`number` of changes of each table")
	if err := env.ParseFlags(fs); err != nil {
		return err
	}
	customers := env.From("customers", generator.Range(*changes, customer), weir.Parallelism(1))
	orders := env.From("orders", generator.Range(*changes, order), weir.Parallelism(1))
	customers.KeyBy(func(c Customer) uint64 { return c.ID }).
		Connect("join", orders.KeyBy(func(o Order) uint64 { return o.Customer }), newJoin).
		Print()
	return nil
}

// customer is the i-th change of its table, as order is of the other.
func customer(i uint64) Customer {
	return Customer{ID: i % 7, Name: fmt.Sprintf("customer-%d (version %d)", i%7, i/7+1), Deleted: i%11 == 10}
}

func order(i uint64) Order {
	return Order{ID: i % 13, Customer: i % 13 % 7, Cents: int64(i) * 99, Deleted: i%9 == 8}
}

// join has, for each customer, its row and those of its orders.
type join struct {
	customer *weir.Value[string]
	orders   *weir.Map[uint64, int64] // cents by id
}

func newJoin(s *weir.Setup) *join {
	return &join{s.Value[string]("customer"), s.Map[uint64, int64]("orders")}
}

// ProcessLeft changes the customer, and so the rows of all of its orders.
func (j *join) ProcessLeft(_ *weir.Ctx[uint64], c Customer, out *weir.Collector[Row]) error {
	_, known := j.customer.Get()
	if c.Deleted {
		j.customer.Clear()
	} else {
		j.customer.Set(c.Name)
	}
	if !known && c.Deleted { // it had no rows
		return nil
	}
	for id, cents := range j.orders.All() {
		if c.Deleted {
			out.Emit(Row{Order: id, Deleted: true})
		} else {
			out.Emit(Row{Order: id, Name: c.Name, Cents: cents})
		}
	}
	return nil
}

// ProcessRight changes an order, and its row if there is the customer.
func (j *join) ProcessRight(_ *weir.Ctx[uint64], o Order, out *weir.Collector[Row]) error {
	name, known := j.customer.Get()
	_, had := j.orders.Get(o.ID)
	if o.Deleted {
		if j.orders.Delete(o.ID); known && had {
			out.Emit(Row{Order: o.ID, Deleted: true})
		}
		return nil
	}
	if j.orders.Set(o.ID, o.Cents); known {
		out.Emit(Row{Order: o.ID, Name: name, Cents: o.Cents})
	}
	return nil
}
