package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/internal/buildflags"
)

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version", Args: words(),
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
				Commit  string `json:"commit"`
				Go      string `json:"go"`
				OS      string `json:"os"`
				Arch    string `json:"arch"`
			}{buildflags.Version(), buildflags.Commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
			if done, err := c.structured(v, []string{v.Version}); done {
				return err
			}
			commit := ""
			if v.Commit != "" {
				commit = " " + v.Commit[:min(12, len(v.Commit))]
			}
			fmt.Fprintf(c.stdout, "weir %s%s %s %s/%s\n", v.Version, commit, v.Go, v.OS, v.Arch)
			return nil
		},
	}
}
