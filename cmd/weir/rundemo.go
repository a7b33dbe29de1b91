package main

import (
	"context"
	"os"

	"golang.org/x/term"

	"github.com/weirstream/weir/internal/demo"
)

// runDemo runs the demo until it is over or ctx is done.
func (c *cli) runDemo(ctx context.Context, d demoConfig) error {
	o := demo.Options{CI: d.CI, Load: d.Load, Sabotage: d.Sabotage, Stdout: c.stdout, Stderr: c.stderr}
	if !d.CI {
		fd := int(os.Stdin.Fd())
		if !term.IsTerminal(fd) {
			return usage("the demo obeys keys, and stdin is no terminal", "weir demo --ci")
		}
		old, err := term.MakeRaw(fd)
		if err != nil {
			return failure(exitFailed, "TERMINAL", "the terminal can't be switched to single keys: "+err.Error())
		}
		defer func() { _ = term.Restore(fd, old) }() // nothing is left to be done about a failure
		o.Keys = keys(os.Stdin)
	}
	return demo.Run(ctx, o)
}

// keys hands on what is typed, a byte at a time. The goroutine ends with the process.
func keys(f *os.File) <-chan byte {
	out := make(chan byte)
	go func() {
		b := make([]byte, 1)
		for {
			if _, err := f.Read(b); err != nil {
				return
			}
			out <- b[0]
		}
	}()
	return out
}
