package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/client/api"
)

func (c *cli) clusterCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "cluster", Short: "Look at the cluster: who leads"}
	cmd.Args = func(cmd *cobra.Command, args []string) error { return unknownCommand(cmd, args) }
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(&cobra.Command{
		Use: "leader", Short: "Show the leading JobManager, and what it has taken over",
		Long: `Show the leading JobManager and its receipt: how many jobs it found on record when it was elected,
how long TaskManagers were without a leader, how many attempts of subtasks it adopted, which went on as
if nothing had happened, and how many subtasks it had to start again.`,
		Args: words(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.connect()
			if err != nil {
				return err
			}
			l, err := cl.Takeover(cmd.Context())
			if err != nil {
				return err
			}
			return c.leader(l)
		},
	})
	return cmd
}

func (c *cli) leader(l api.Leader) error {
	if done, err := c.structured(l, []string{l.RESTAddress}); done {
		return err
	}
	row := []string{l.RESTAddress, strconv.FormatUint(l.Epoch, 10), "-", "-", "-", "-"}
	if t := l.Takeover; t != nil {
		row = append(row[:2], strconv.Itoa(t.Jobs), strconv.Itoa(t.Adopted), strconv.Itoa(t.Restarted), "-")
		if t.LeaderlessMS > 0 {
			row[5] = since(t.LeaderlessMS)
		}
		if t.Open > 0 {
			c.say(strconv.Itoa(t.Open) + " jobs are still being taken over")
		}
	}
	c.table([][]string{{"LEADER", "EPOCH", "JOBS", "ADOPTED", "RESTARTED", "WITHOUT LEADER"}, row})
	return nil
}
