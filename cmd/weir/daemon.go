package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/weirstream/weir/internal/config"
	"github.com/weirstream/weir/internal/exit"
)

// daemonFlags are what both daemons take. A flag with a setting of its own counts as
// -D of that setting.
type daemonFlags struct {
	file     string
	settings []string
	insecure bool
	own      map[string]ownFlag
}

// ownFlag leads from a flag to the settings it stands for.
type ownFlag struct {
	value *string
	set   func(l config.Layer, value string) error
}

// add defines what both daemons take.
func (d *daemonFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&d.file, "config", "", "YAML file of settings (env "+envConfig+")")
	fl.StringArrayVarP(&d.settings, "define", "D", nil, "set a setting, key=value; may be repeated")
	fl.BoolVar(&d.insecure, "insecure-no-auth", false, "allow addresses that other hosts reach without TLS and token")
	d.own = map[string]ownFlag{}
}

// setting defines a flag that stands for one setting.
func (d *daemonFlags) setting(cmd *cobra.Command, name string, key *config.Option, help string) {
	d.flag(cmd, name, help, func(l config.Layer, value string) error {
		l.Set(key.Key, value, "--"+name)
		return nil
	})
}

// address defines a flag host:port that stands for two settings.
func (d *daemonFlags) address(cmd *cobra.Command, name string, host, port *config.Option, help string) {
	d.flag(cmd, name, help, func(l config.Layer, value string) error {
		h, p, err := net.SplitHostPort(value)
		if err != nil || h == "" {
			return usage(fmt.Sprintf("--%s %q is not of the form host:port", name, value), fmt.Sprintf("such as --%s %s:%s", name, host.Default, port.Default))
		}
		l.Set(host.Key, h, "--"+name)
		l.Set(port.Key, p, "--"+name)
		return nil
	})
}

func (d *daemonFlags) flag(cmd *cobra.Command, name, help string, set func(config.Layer, string) error) {
	d.own[name] = ownFlag{cmd.Flags().String(name, "", help), set}
}

// folder makes a relative folder absolute: on the command line it means the shell's.
func folder(key *config.Option, name string) func(config.Layer, string) error {
	return func(l config.Layer, value string) error {
		if !strings.Contains(value, "://") {
			abs, err := filepath.Abs(value)
			if err != nil {
				return fmt.Errorf("find folder --%s %s: %w", name, value, err)
			}
			value = abs
		}
		l.Set(key.Key, value, "--"+name)
		return nil
	}
}

// resolve puts flags, environment and file together.
func (c *cli) resolve(cmd *cobra.Command, d *daemonFlags) (*config.Effective, error) {
	flags, err := config.Flags(d.settings)
	if err != nil {
		return nil, badConfig(err)
	}
	for name, f := range d.own {
		if cmd.Flags().Changed(name) {
			if err := f.set(flags, *f.value); err != nil {
				return nil, err
			}
		}
	}
	env, err := config.Environ(c.environ)
	if err != nil {
		return nil, badConfig(err)
	}
	layers := []config.Layer{flags, env}
	if d.file == "" {
		d.file = c.getenv(envConfig)
	}
	if d.file != "" {
		file, err := config.File(d.file)
		if err != nil {
			return nil, badConfig(err)
		}
		layers = append(layers, file)
	}
	e, err := config.Resolve(layers...)
	if err != nil {
		return nil, badConfig(err)
	}
	return e, nil
}

// logger returns the daemon's log, on stderr.
func (c *cli) logger(e *config.Effective) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(e.Get(config.LogLevel))); err != nil {
		panic(fmt.Sprintf("weir: BUG: log level: %v", err))
	}
	if c.verbose {
		level = min(level, slog.LevelDebug)
	}
	o := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(c.stderr, o)
	if e.Get(config.LogFormat) == "json" {
		h = slog.NewJSONHandler(c.stderr, o)
	}
	log := slog.New(h)
	for _, n := range e.Notices {
		log.Warn(n)
	}
	return log
}

// terminated returns a context that ends with SIGTERM or Ctrl-C: a clean stop. The
// second signal ends the process at once.
func terminated(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// stopCause names what ended ctx: the signal, as people know it.
func stopCause(ctx context.Context) string {
	cause := context.Cause(ctx)
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		if cause != nil && cause.Error() == s.String()+" signal received" { // as signal.NotifyContext says
			return unix.SignalName(s)
		}
	}
	return fmt.Sprint(cause)
}

// checkExposure refuses an address that other hosts reach, unless it is protected or
// the user insists.
func checkExposure(what, flag, host string, protected, insist bool) error {
	if insist || protected || isLoopback(host) {
		return nil
	}
	loopback := " 127.0.0.1:PORT"
	if flag == "--host" {
		loopback = " 127.0.0.1"
	}
	hints := []string{flag + loopback, "or, if the network is trusted:  --insecure-no-auth"}
	why := "TLS and a token"
	if strings.HasPrefix(what, "REST") {
		hints = append([]string{"-D rest.tls.cert-file=… -D rest.tls.key-file=… -D rest.token-file=…"}, hints...)
	} else {
		why = "protection (it has no TLS yet)"
	}
	return failure(exitUsage, "EXPOSED", fmt.Sprintf("%s %s would be open to other hosts without %s", what, host, why), hints...)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// listen opens a port, and says in one line why it can't.
func listen(what, flag, host string, port int) (net.Listener, error) {
	address := net.JoinHostPort(host, strconv.Itoa(port))
	ln, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, failure(exitConflict, "PORT_IN_USE", fmt.Sprintf("%s %s is in use by another process", what, address), "take another:  "+flag+" "+net.JoinHostPort(host, "PORT"))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, failure(exitUsage, "NOT_MY_ADDRESS", fmt.Sprintf("%s %s: no network interface of this machine has this address", what, address))
	}
	cause := err
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		cause = op.Err
	}
	return nil, failure(exitFailed, "CANNOT_LISTEN", fmt.Sprintf("%s %s can't be opened: %v", what, address, cause))
}

// dataFolder makes the data folder and locks it: two daemons in one folder would
// overwrite each other. The lock is the process's and goes with it.
func dataFolder(given, daemon string) (path string, lock *os.File, err error) {
	path = given
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", nil, failure(exitUsage, "NO_DATA_FOLDER", "the data folder is not known: "+err.Error(), "--data DIR")
		}
		path = filepath.Join(home, ".weir", daemon)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", nil, failure(exitFailed, "DATA_FOLDER", fmt.Sprintf("data folder %s can't be made: %v", path, exit.WithoutPath(err)), "--data DIR")
	}
	name := filepath.Join(path, daemon+".lock")
	lock, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", nil, failure(exitFailed, "DATA_FOLDER", fmt.Sprintf("data folder %s can't be written: %v", path, exit.WithoutPath(err)), "--data DIR")
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		b, _ := os.ReadFile(name) // for the message only
		lock.Close()
		if pid := strings.TrimSpace(string(b)); pid != "" {
			return "", nil, failure(exitConflict, "DATA_FOLDER_IN_USE", fmt.Sprintf("data folder %s is in use by another %s, process %s", path, daemon, pid), "--data OTHER_DIR")
		}
		return "", nil, failure(exitConflict, "DATA_FOLDER_IN_USE", fmt.Sprintf("data folder %s is in use by another %s", path, daemon), "--data OTHER_DIR")
	}
	err = lock.Truncate(0)
	if err == nil {
		_, err = lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		lock.Close()
		return "", nil, failure(exitFailed, "DATA_FOLDER", fmt.Sprintf("data folder %s can't be written: %v", path, exit.WithoutPath(err)))
	}
	return path, lock, nil
}
