package local

import (
	"fmt"
	"strings"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/weirtest"
)

// Later versions of the program whose first one is in cells_test.go.

// evolvedTotal is total in a later version: wider, renamed, with one field more and
// others in its place.
type evolvedTotal struct {
	Note  string
	Sum   int64 `weir:"was=Cents"`
	Count int64 `weir:"was=Orders"`
	Tags  []string
}

type evolvedSpent struct {
	total *weir.Value[evolvedTotal]
	sizes *weir.List[int64]
	days  *weir.Map[string, int64]
	photo *weir.Value[[]byte]
}

func newEvolvedSpent(s *weir.Setup) *evolvedSpent {
	return &evolvedSpent{s.Value[evolvedTotal]("total"), s.List[int64]("sizes"), s.Map[string, int64]("days"), s.Value[[]byte]("photo")}
}

func (p *evolvedSpent) process(key string, cents int64, out *weir.Collector[string]) error {
	v, _ := p.total.Get()
	v.Count++
	v.Sum += cents
	v.Note = "evolved"
	p.total.Set(v)
	p.sizes.Append(cents)
	n, _ := p.days.Get("today")
	p.days.Set("today", n+1)
	if p.sizes.Len() != int(v.Count) || n+1 != v.Count {
		return fmt.Errorf("user %s: %d orders, %d sizes, %d today", key, v.Count, p.sizes.Len(), n+1)
	}
	out.Emit(fmt.Sprintf("%s: %d orders, %d cents", key, v.Count, v.Sum))
	return photographed(key, p.photo, v.Count > 1)
}

func (p *evolvedSpent) Process(c *weir.Ctx[string], o order, out *weir.Collector[string]) error {
	return p.process(c.Key(), int64(o.Cents), out)
}

// evolved is the program with other types of state.
func evolved(env *weir.Env) error {
	env.From("orders", nil2[order]()).
		Map("priced", weir.Self).
		KeyBy(func(o order) string { return o.User }).
		Process("spent", newEvolvedSpent).
		To("out", sink{})
	return nil
}

// account is total in a version with a name, a version and another meaning: mills.
type account struct {
	Mills  int64
	Orders []int64 // how many, in one element
}

var accountType = codec.Struct("shop.Account", 1, codec.Up(0, func(t total) account {
	return account{10 * int64(t.Cents), []int64{int64(t.Orders)}}
}))

// accounts keeps an account for each user, and the rest as evolvedSpent does.
type accounts struct {
	evolvedSpent
	account *weir.Value[account]
}

func (p *accounts) Process(c *weir.Ctx[string], o order, out *weir.Collector[string]) error {
	a, ok := p.account.Get()
	if !ok {
		a.Orders = []int64{0}
	}
	a.Mills += 10 * int64(o.Cents)
	a.Orders[0]++
	p.account.Set(a)
	out.Emit(fmt.Sprintf("%s: %d orders, %d cents", c.Key(), a.Orders[0], a.Mills/10))
	return photographed(c.Key(), p.photo, a.Orders[0] > 1)
}

// named is the program with a type that a function of its own makes of the old one.
func named(env *weir.Env) error {
	env.Use(accountType)
	env.From("orders", nil2[order]()).
		Map("priced", weir.Self).
		KeyBy(func(o order) string { return o.User }).
		Process("spent", func(s *weir.Setup) *accounts {
			return &accounts{evolvedSpent{sizes: s.List[int64]("sizes"), days: s.Map[string, int64]("days"), photo: s.Value[[]byte]("photo")}, s.Value[account]("total")}
		}).
		To("out", sink{})
	return nil
}

// sameGraph is the program with other functions and names in the same graph.
func sameGraph(env *weir.Env) error {
	env.From("orders", nil2[order](), weir.Named("All orders")).
		Map("priced", func(o order) order { return order{strings.Clone(o.User), o.Cents} }).
		KeyBy(func(o order) string { return o.User }).
		Process("spent", newSpent(false), weir.Named("Spent by user")).
		To("out", sink{})
	return nil
}

// newOrder is a record of the last version.
type newOrder struct {
	Shop  string
	User  string
	Cents int64
}

func asNew(o order) newOrder { return newOrder{User: o.User, Cents: int64(o.Cents)} }

// newSpentOf is the last version of spent.
type newSpentOf struct{ evolvedSpent }

func (p *newSpentOf) Process(c *weir.Ctx[string], o newOrder, out *weir.Collector[string]) error {
	return p.process(c.Key(), o.Cents, out)
}

// retyped has other records everywhere, another parallelism, an operator with state more
// and one without, on the same edges where the first version has any.
func retyped(env *weir.Env) error {
	env.From("orders", nil2[newOrder]()).
		Map("priced", weir.Self).
		KeyBy(func(o newOrder) string { return o.User }).
		Process("spent", func(s *weir.Setup) *newSpentOf { return &newSpentOf{*newEvolvedSpent(s)} }, weir.Parallelism(3)).
		Filter("not empty", func(s string) bool { return s != "" }).
		KeyBy(weir.Self).
		Reduce("seen", func(a, _ string) string { return a }).
		To("out", sink{}, weir.Parallelism(1))
	return nil
}

// rewired has edges that the first version had not: "spent" gets its records from
// elsewhere.
func rewired(env *weir.Env) error {
	env.From("orders", nil2[newOrder](), weir.Parallelism(1)).
		Rebalance().
		Map("checked", weir.Self).
		Union(env.From("gifts", weirtest.NewFeed[newOrder](nil))).
		KeyBy(func(o newOrder) string { return o.User }).
		Process("spent", func(s *weir.Setup) *newSpentOf { return &newSpentOf{*newEvolvedSpent(s)} }).
		Map("text", weir.Self, weir.Parallelism(1)).
		To("out", sink{})
	return nil
}
