package config

import (
	"fmt"
	"slices"
	"strings"
)

// Documentation is the reference page of all settings, in Markdown:
// docs/configuration.md.
func Documentation() string {
	var b strings.Builder
	b.WriteString(`# Settings

Written by package internal/config; do not edit.

A value counts in this order: flag of the command (-D key=value), environment, file (--config), default.
For a setting of a job: what the program fixed (Env.Set), -D and -p of ` + "`weir run`" + `, the program's own
default (weir.Set, Env.Default), the cluster's configuration, default. ` + "`weir config explain KEY`" + ` describes one.

The environment variable of a setting is WEIR_ and its key in upper case, with dots and dashes as
underscores: ` + CheckpointInterval.EnvName() + `. In the YAML file keys may be nested or dotted.
Durations are written "10 s", "500 ms", "1min" or as Go does ("1m30s"); a number alone is in milliseconds.
Sizes are "512m", "1gb"; units are powers of 1024.
`)
	for _, section := range sections {
		fmt.Fprintf(&b, "\n## %s\n\n| key | type | default | scope | meaning |\n|---|---|---|---|---|\n", section.title)
		for _, o := range Options() {
			if slices.ContainsFunc(section.prefixes, func(p string) bool { return strings.HasPrefix(o.Key, p) }) {
				b.WriteString(documented(o))
			}
		}
	}
	return b.String()
}

// documented is the line of o in the table.
func documented(o *Option) string {
	def, doc := o.Default, o.Doc
	if def == "" {
		def = "–"
	}
	if len(o.Aliases) > 0 {
		doc += " Older names: " + strings.Join(o.Aliases, ", ") + "."
	}
	bar := strings.NewReplacer("|", "\\|")
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", o.Key, bar.Replace(o.Type), def, o.Scope, bar.Replace(doc))
}
