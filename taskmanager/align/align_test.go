package align

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/weirstream/weir/stream"
)

// TestTranscripts runs testdata/*.txt:
//
//	new channels=2 [restored=7] [overtakes=(0,1)] [at-least-once]
//	barrier ch=0 ckpt=8 [at=5ms] [age=2ms] [terminal] [unaligned] [timeout=1s]
//	seen ch=0 ckpt=8 …
//	captured ch=0
//	time [at=5ms]
//	inject ckpt=8
//	cancel ckpt=8 [ch=0]
//	end ch=0
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var a *Aligner
		now := time.Duration(0)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			number := func(key string, otherwise int) int {
				if d.HasArg(key) {
					d.ScanArgs(t, key, &otherwise)
				}
				return otherwise
			}
			duration := func(key string) time.Duration {
				var s string
				if !d.HasArg(key) {
					return 0
				}
				d.ScanArgs(t, key, &s)
				v, err := time.ParseDuration(s)
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				return v
			}
			if d.HasArg("at") {
				now = duration("at")
			}
			e := Event{Channel: number("ch", Local), Barrier: stream.Barrier{
				ID: stream.CheckpointID(number("ckpt", 0)), Kind: stream.CheckpointBarrier, Age: duration("age"),
				Unaligned: d.HasArg("unaligned"), AlignmentTimeout: duration("timeout"),
			}}
			if d.HasArg("terminal") {
				e.Barrier.Kind = stream.TerminalBarrier
			}
			switch d.Cmd {
			case "new":
				a = New(options(d, number("channels", 0), number("restored", 0)))
				return ""
			case "seen":
				e.Kind = BarrierSeen
			case "captured":
				e.Kind = Captured
			case "time":
				e.Kind = TimeUp
			case "barrier":
				e.Kind = BarrierArrived
			case "inject":
				e.Kind = BarrierInjected
			case "cancel":
				e.Kind = BarrierCancelled
			case "end":
				e.Kind = EndOfInput
			default:
				d.Fatalf(t, "unknown command")
			}
			var b strings.Builder
			for _, effect := range a.Step(now, e, nil) {
				fmt.Fprintln(&b, effect)
			}
			if due, ok := a.Due(); ok {
				fmt.Fprintf(&b, "(aligning %d, due %v)\n", a.Aligning(), due)
			} else if id := a.Aligning(); id != 0 {
				fmt.Fprintf(&b, "(aligning %d)\n", id)
			}
			if id := a.Capturing(); id != 0 {
				fmt.Fprintf(&b, "(capturing %d)\n", id)
			}
			return b.String()
		})
	})
}

func options(d *datadriven.TestData, channels, restored int) Options {
	o := Options{Channels: channels, Restored: stream.CheckpointID(restored), Overtakes: make([]bool, channels)}
	if d.HasArg("at-least-once") {
		o.Mode = AtLeastOnce
	}
	for _, a := range d.CmdArgs {
		if a.Key == "overtakes" {
			for _, v := range a.Vals {
				var ch int
				fmt.Sscan(v, &ch)
				o.Overtakes[ch] = true
			}
		}
	}
	return o
}

// TestNothingStaysBlocked lets barriers and cancellations of ascending ids come in
// any order that channels allow. Started and aborted ids rise strictly (I9), every
// channel that is blocked is unblocked once its checkpoint is started or aborted
// (I11), and with all barriers delivered and none cancelled, the last one starts.
func TestNothingStaysBlocked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(t, "channels")
		const ids = 6
		a := New(Options{Channels: n})
		next := make([]stream.CheckpointID, n) // last id that came on the channel
		blocked := make([]bool, n)
		highest := stream.CheckpointID(0) // started or aborted
		cancelled := stream.CheckpointID(0)
		step := func(e Event) {
			for _, effect := range a.Step(0, e, nil) {
				switch effect.Kind {
				case Block:
					blocked[effect.Channel] = true
				case UnblockAll:
					clear(blocked)
				case Start, Abort:
					if effect.Barrier.ID <= highest {
						t.Fatalf("%v after %d", effect, highest)
					}
					highest = effect.Barrier.ID
				}
			}
			if a.Aligning() == 0 {
				for ch, b := range blocked {
					if b {
						t.Fatalf("channel %d is blocked and nothing is aligned", ch)
					}
				}
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			ch := rapid.IntRange(0, n-1).Draw(t, "channel")
			switch {
			case rapid.IntRange(0, 9).Draw(t, "what") == 0:
				cancelled = stream.CheckpointID(rapid.IntRange(1, ids).Draw(t, "cancelled"))
				step(Event{Kind: BarrierCancelled, Channel: Local, Barrier: stream.Barrier{ID: cancelled}})
			case !blocked[ch] && next[ch] < ids:
				next[ch] += stream.CheckpointID(rapid.IntRange(1, int(ids-next[ch])).Draw(t, "ahead"))
				step(Event{Kind: BarrierArrived, Channel: ch, Barrier: stream.Barrier{ID: next[ch]}})
			}
		}
		// Everybody sends a last one.
		for progress := true; progress; {
			progress = false
			for ch := range n {
				if !blocked[ch] && next[ch] <= ids {
					next[ch] = ids + 1
					step(Event{Kind: BarrierArrived, Channel: ch, Barrier: stream.Barrier{ID: ids + 1}})
					progress = true
				}
			}
		}
		if highest != ids+1 || a.Aligning() != 0 {
			t.Fatalf("the last checkpoint did not start: highest %d, aligning %d", highest, a.Aligning())
		}
	})
}
