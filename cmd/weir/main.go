package main

import (
	"context"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/internal/demo"
)

func main() {
	// The demo submits this very program as its job: asked for its plan, or started as
	// a worker, it is that job and not the command.
	if os.Getenv(weir.EnvPlan) != "" || os.Getenv(weir.EnvWorker) != "" {
		demo.JobMain()
	}
	c := &cli{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ(),
		terminal: term.IsTerminal(int(os.Stderr.Fd())),
	}
	os.Exit(c.run(context.Background(), os.Args[1:]))
}

// cli is one call of the command. Its streams and environment are fields, so that
// tests are calls too.
type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	terminal       bool // stderr is one: progress may be drawn over itself

	// Flags of all commands.
	address string
	output  string
	verbose bool
}

// run runs one command line and returns its exit code.
func (c *cli) run(ctx context.Context, args []string) int {
	root := c.root()
	root.SetArgs(rewrite(args))
	root.SetIn(c.stdin)
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	return c.report(root.ExecuteContext(ctx))
}

// getenv returns the value of an environment variable, "" if it is not set.
func (c *cli) getenv(name string) string {
	for _, e := range c.environ {
		if len(e) > len(name) && e[:len(name)] == name && e[len(name)] == '=' {
			return e[len(name)+1:]
		}
	}
	return ""
}
