package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/internal/config"
	"github.com/weirstream/weir/internal/exit"
)

// Exit codes, by the names that they have here.
const (
	exitOK           = exit.CodeOK
	exitFailed       = exit.CodeFailed
	exitUsage        = exit.CodeUsage
	exitNotFound     = exit.CodeNotFound
	exitConflict     = exit.CodeConflict
	exitIncompatible = exit.CodeIncompatible
	exitUnavailable  = exit.CodeUnavailable
	exitJob          = exit.CodeJob
	exitTimeout      = exit.CodeTimeout
	exitDetached     = exit.CodeDetached
)

var exitOf = map[error]int{
	api.ErrInvalid: exitUsage, api.ErrNotFound: exitNotFound, api.ErrConflict: exitConflict, api.ErrIncompatible: exitIncompatible,
	api.ErrUnavailable: exitUnavailable, api.ErrDenied: exitFailed, api.ErrTooLarge: exitUsage,
}

type exitError = exit.Error

func failure(code int, name, message string, hints ...string) error {
	return exit.New(code, name, message, hints...)
}

func usage(message string, hints ...string) error { return exit.Usage(message, hints...) }

// report says err in the form of all errors and returns the exit code.
func (c *cli) report(err error) int {
	if err == nil {
		return exitOK
	}
	var own *exitError
	var remote *api.Error
	e := exitError{Exit: exitFailed, Code: "FAILED", Lines: strings.Split(err.Error(), "\n")}
	switch {
	case errors.As(err, &own):
		e = *own
	case errors.As(err, &remote):
		e = exitError{Exit: exitFailed, Code: remote.Code, Lines: remote.Errors, Hints: remote.Hints}
		if code, ok := exitOf[api.MarkOf(err)]; ok {
			e.Exit = code
		}
	case errors.Is(err, context.Canceled):
		return exitDetached
	}
	if len(e.Lines) == 0 {
		return e.Exit
	}
	var b strings.Builder
	for i, l := range e.Lines {
		if i == 0 {
			fmt.Fprintf(&b, "error: %s\n", l)
		} else {
			fmt.Fprintf(&b, "  %s\n", l)
		}
	}
	for _, h := range e.Hints {
		fmt.Fprintf(&b, "  %s\n", h)
	}
	fmt.Fprintf(c.stderr, "%s  [%s, exit %d]\n", strings.TrimSuffix(b.String(), "\n"), e.Code, e.Exit)
	return e.Exit
}

// flagError turns pflag's errors into ours, with the nearest flag.
func flagError(cmd *cobra.Command, err error) error {
	help := cmd.CommandPath() + " --help"
	if bad := (*pflag.InvalidValueError)(nil); errors.As(err, &bad) {
		if number := (*strconv.NumError)(nil); errors.As(err, &number) {
			return usage(fmt.Sprintf("--%s %s is not a whole number", bad.GetFlag().Name, bad.GetValue()), help)
		}
		return usage(fmt.Sprintf("--%s %s: %v", bad.GetFlag().Name, bad.GetValue(), bad.Unwrap()), help)
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usage(strings.TrimPrefix(err.Error(), "flag "), help)
	}
	name := unknown.GetSpecifiedName()
	if short := unknown.GetSpecifiedShortnames(); short != "" {
		hints := []string{help}
		if flag := cmd.Flags().Lookup(short); flag != nil {
			hints = []string{"did you mean --" + short + "?"}
		}
		return usage(fmt.Sprintf("unknown flag -%s of %s", short, cmd.CommandPath()), hints...)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	message := fmt.Sprintf("unknown flag --%s of %s", name, cmd.CommandPath())
	if near := config.Nearest(name, names); near != "" {
		return usage(message, "did you mean --"+near+"?")
	}
	if cmd.Name() == "run" {
		return usage(message, "flags of the program come after --:  weir run PKG -- --"+name)
	}
	return usage(message, help)
}

// words demands arguments, by their names in the help.
func words(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usage(fmt.Sprintf("%s lacks %s", cmd.CommandPath(), names[len(args)]), cmd.UseLine())
		case len(args) > len(names):
			return usage(fmt.Sprintf("%s takes no argument %q", cmd.CommandPath(), args[len(names)]), cmd.UseLine())
		}
		return nil
	}
}

// unknownCommand names the verb that is most like what was typed.
func unknownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, cmd := range root.Commands() {
		if cmd.IsAvailableCommand() {
			names = append(names, cmd.Name())
		}
	}
	slices.Sort(names)
	if near := config.Nearest(args[0], names); near != "" {
		return usage(fmt.Sprintf("unknown command %q", args[0]), "did you mean "+root.CommandPath()+" "+near+"?")
	}
	return usage(fmt.Sprintf("unknown command %q", args[0]), root.CommandPath()+" --help")
}
