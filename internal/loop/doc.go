// Package loop owns the one goroutine that owns a component's state: a JobMaster, the
// dispatcher, a TaskManager's agent. Everything that happens to the component is an
// event of one type, posted from anywhere, handled one after another by that
// goroutine; so its state needs no lock.
//
// Slow work (RPC, files, etcd) leaves the loop through Go and comes back as an event;
// delays come back as events through After. A handler never blocks.
//
// Goroutines: the caller's, in Run; one for each running Go; none is left when Run has
// returned. Everything else is called from any goroutine, unless it says "owner".
//
// It never looks at an event, retries, or logs. Records do not travel here: the mailbox
// is a mutex and a slice, made for control.
//
// Inside testing/synctest no clock need be given: time itself is virtual there.
//
// Read loop.go, then clock.go.
package loop
