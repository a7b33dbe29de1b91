package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/internal/config"
)

func (c *cli) configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Explain settings and check configuration files"}
	cmd.Args = func(cmd *cobra.Command, args []string) error { return unknownCommand(cmd, args) }
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(
		&cobra.Command{
			Use: "explain KEY", Short: "Explain a setting", Args: words("KEY"),
			ValidArgsFunction: func(_ *cobra.Command, _ []string, typed string) (keys []cobra.Completion, _ cobra.ShellCompDirective) {
				for _, o := range config.Options() {
					if strings.HasPrefix(o.Key, typed) {
						keys = append(keys, cobra.CompletionWithDesc(o.Key, o.Doc))
					}
				}
				return keys, cobra.ShellCompDirectiveNoFileComp
			},
			RunE: func(_ *cobra.Command, args []string) error {
				text, err := config.Explain(args[0])
				if err != nil {
					return failure(exitUsage, "UNKNOWN_SETTING", err.Error())
				}
				fmt.Fprint(c.stdout, text)
				return nil
			},
		},
		&cobra.Command{
			Use: "list", Short: "List all settings", Args: words(),
			RunE: func(*cobra.Command, []string) error {
				rows := [][]string{{"KEY", "TYPE", "DEFAULT", "SCOPE"}}
				for _, o := range config.Options() {
					rows = append(rows, []string{o.Key, o.Type, orDash(o.Default), o.Scope.String()})
				}
				c.table(rows)
				return nil
			},
		},
		&cobra.Command{
			Use: "lint FILE", Short: "Check a configuration file", Args: words("FILE"),
			RunE: func(_ *cobra.Command, args []string) error {
				layer, err := config.File(args[0])
				if err != nil {
					return badConfig(err)
				}
				e, err := config.Resolve(layer)
				if err != nil {
					return badConfig(err)
				}
				for _, n := range e.Notices {
					c.say("notice: " + n)
				}
				return nil
			},
		})
	return cmd
}

func badConfig(err error) error {
	return &exitError{Exit: exitUsage, Code: "BAD_SETTING", Lines: strings.Split(err.Error(), "\n"), Hints: []string{"weir config list"}}
}
