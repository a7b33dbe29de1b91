package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// demoConfig is what the demo was asked for.
type demoConfig struct {
	CI       bool
	Load     time.Duration // time with load; kills fall inside it
	Sabotage string        // "", "drop" or "double"
}

func (c *cli) demoCommand() *cobra.Command {
	var ci bool
	var seconds int
	var sabotage string
	cmd := &cobra.Command{
		Use: "demo", Short: "See a cluster survive kills, with every record accounted for", Args: words(),
		Long: `Start a cluster of two JobManagers and three TaskManagers on this machine, run a job on it and
recompute the truth from its input. On a terminal, k kills a TaskManager, j the leading JobManager
and q quits. With --ci it kills by itself, and fails if a record was lost or doubled.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if seconds < 5 || seconds > 24*60*60 {
				return usage(fmt.Sprintf("--seconds %d is not possible", seconds), "5 to 86400")
			}
			if !slices.Contains([]string{"", "drop", "double"}, sabotage) {
				return usage(fmt.Sprintf("--sabotage %q is not known", sabotage), "drop or double")
			}
			ctx, stop := terminated(cmd.Context())
			defer stop()
			return c.runDemo(ctx, demoConfig{CI: ci, Load: time.Duration(seconds) * time.Second, Sabotage: sabotage})
		},
	}
	cmd.Flags().BoolVar(&ci, "ci", false, "unattended: kill, check and end")
	cmd.Flags().IntVar(&seconds, "seconds", 40, "time with load")
	cmd.Flags().StringVar(&sabotage, "sabotage", "", "have the sink drop or double records: drop|double")
	return cmd
}
