package jobbinary

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/internal/buildflags"
	"github.com/weirstream/weir/internal/exit"
	"github.com/weirstream/weir/proto/metapb"
)

// Program is a job binary, and one that runs here if the cluster's machines are of
// another kind.
type Program struct {
	Name   string // as typed
	Binary string // path, for the cluster
	Local  string // path, for this machine; Binary itself where they are the same
	Arch   string // GOARCH of Binary

	dir string // temporary folder of what was built; "" if nothing was
}

// Remove removes what was built.
func (p Program) Remove() { removeAll(p.dir) }

// removeAll removes temporary files; what can't be removed is left to the system.
func removeAll(dir string) {
	if dir != "" {
		os.RemoveAll(dir)
	}
}

// CheckTarget says why target can be neither a package nor a binary for any machine.
func CheckTarget(target string) error {
	info, err := os.Stat(target)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil && !info.Mode().IsRegular():
		return badBinary(target, "is neither a file nor a folder")
	case err == nil && strings.HasSuffix(target, ".go"):
		return exit.Usage(fmt.Sprintf("%s is Go source", target), "give the folder of its package:  weir run ./"+filepath.Dir(target))
	case err == nil:
		return checkBinary(target, "")
	case looksLikePath(target):
		return exit.New(exit.CodeUsage, "NO_BINARY", fmt.Sprintf("cannot read %s: %v", target, exit.WithoutPath(err)))
	}
	return nil // an import path: the build will tell
}

// Prepare makes or checks the binary that target names; see CheckTarget. say is told
// what takes time.
func Prepare(ctx context.Context, target, arch string, say func(string)) (Program, error) {
	info, err := os.Stat(target)
	if err == nil && info.Mode().IsRegular() {
		return checkedBinary(target, arch)
	}
	folder := ""
	if err == nil { // its module may be another than that of the working folder
		folder = target
	}
	return build(ctx, target, folder, arch, say)
}

func looksLikePath(target string) bool {
	return filepath.IsAbs(target) || strings.HasPrefix(target, "./") || strings.HasPrefix(target, "../") || target == "." || target == ".."
}

func badBinary(path, why string, hints ...string) error {
	return exit.New(exit.CodeUsage, "BAD_BINARY", fmt.Sprintf("%s %s", path, why), hints...)
}

func checkedBinary(path, arch string) (Program, error) {
	if err := checkBinary(path, arch); err != nil {
		return Program{}, err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return Program{}, fmt.Errorf("find job binary: %w", err)
	}
	if arch != runtime.GOARCH {
		return Program{}, badBinary(path, fmt.Sprintf("is for %s and can't be planned on this machine (%s)", arch, runtime.GOARCH),
			"give its package, so that both are built:  weir run ./PKG")
	}
	return Program{Name: path, Binary: abs, Local: abs, Arch: arch}, nil
}

// module is what every job is made of.
const module = "github.com/weirstream/weir"

// machines are Go's names of ELF machines.
var machines = map[elf.Machine]string{
	elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_386: "386", elf.EM_ARM: "arm", elf.EM_RISCV: "riscv64",
	elf.EM_PPC64: "ppc64le", elf.EM_S390: "s390x", elf.EM_LOONGARCH: "loong64", elf.EM_MIPS: "mips",
}

// foreignHeads are the first bytes of files that are often given instead of a binary.
var foreignHeads = []struct{ head, is string }{
	{"#!", "is a script, not a Linux program"}, {"MZ", "is a Windows program, not a Linux one"}, {"\xcf\xfa\xed\xfe", "is a macOS program, not a Linux one"}, {"\xca\xfe\xba\xbe", "is a Java class or a macOS program, not a Linux one"},
	{"PK\x03\x04", "is a zip or jar file, not a Linux program"}, {"!<arch>", "is no program: it is not package main"}, {"\x1f\x8b", "is a gzip file, not a Linux program"},
}

// checkBinary says why a file can't be a job binary for arch, as far as can be seen
// without running it. An empty arch stands for any.
func checkBinary(path, arch string) error {
	const how = "build it:  GOOS=linux go build -o JOB ./PKG, or give its package:  weir run ./PKG"
	f, err := os.Open(path)
	if err != nil {
		return badBinary(path, "can't be read: "+err.Error())
	}
	defer f.Close()
	head := make([]byte, 512)
	n, _ := f.ReadAt(head, 0) // a short read is a short file
	head = head[:n]
	if n == 0 {
		return badBinary(path, "is empty", how)
	}
	for _, h := range foreignHeads {
		if bytes.HasPrefix(head, []byte(h.head)) {
			return badBinary(path, h.is, how)
		}
	}
	if !bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
		if bytes.IndexByte(head, 0) < 0 {
			return badBinary(path, "is a text file, not a Linux program", how)
		}
		return badBinary(path, "is not a Linux program", how)
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return badBinary(path, "is a damaged Linux program: "+err.Error(), how)
	}
	if e.Type != elf.ET_EXEC && e.Type != elf.ET_DYN {
		return badBinary(path, "is an object file, not a program", how)
	}
	if is := machines[e.Machine]; arch != "" && is != arch {
		if is == "" {
			is = e.Machine.String()
		}
		return badBinary(path, fmt.Sprintf("is built for %s, the cluster's machines are %s", is, arch), "build it:  GOOS=linux GOARCH="+arch+" go build -o JOB ./PKG")
	}
	info, err := buildinfo.Read(f)
	if err != nil {
		return badBinary(path, "is not a Weir job: it is no Go program", how)
	}
	if info.Path == module+"/cmd/weir" {
		return badBinary(path, "is the weir command, and no Weir job", "weir run PKG|BINARY, of a program whose main ends in weir.Main(build)")
	}
	if info.Main.Path != module && !slices.ContainsFunc(info.Deps, func(m *debug.Module) bool { return m.Path == module }) {
		return badBinary(path, "is not a Weir job: it does not use "+module)
	}
	if st, err := f.Stat(); err == nil && st.Mode()&0o111 == 0 {
		return badBinary(path, "is not executable", "chmod +x "+path)
	}
	return nil
}

// build builds a package for the cluster, and for this machine if that is another.
// A package that was given by its folder is built there.
func build(ctx context.Context, pkg, folder, arch string, say func(string)) (Program, error) {
	dir, err := os.MkdirTemp("", "weir-run-")
	if err != nil {
		return Program{}, fmt.Errorf("make folder for the build: %w", err)
	}
	p := Program{Name: pkg, dir: dir, Binary: filepath.Join(dir, "job"), Arch: arch}
	p.Local = p.Binary
	say(fmt.Sprintf("building %s for linux/%s", pkg, arch))
	if err := goBuild(ctx, pkg, folder, p.Binary, "GOOS=linux", "GOARCH="+arch); err != nil {
		p.Remove()
		return Program{}, err
	}
	if runtime.GOOS != "linux" || arch != runtime.GOARCH {
		p.Local = filepath.Join(dir, "plan")
		if err := goBuild(ctx, pkg, folder, p.Local); err != nil {
			p.Remove()
			return Program{}, err
		}
	}
	if err := checkBinary(p.Binary, arch); err != nil {
		p.Remove()
		err.(*exit.Error).Lines[0] = strings.Replace(err.Error(), p.Binary, "package "+pkg, 1)
		return Program{}, err
	}
	return p, nil
}

func goBuild(ctx context.Context, pkg, folder, out string, env ...string) error {
	what := pkg
	if folder != "" {
		what = "."
	}
	made := buildflags.Command(what, out)
	cmd := exec.CommandContext(ctx, made.Path, made.Args[1:]...)
	cmd.Dir = folder
	cmd.Env = append(made.Env, env...)
	cmd.Err = made.Err
	text, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound):
		return exit.New(exit.CodeFailed, "NO_GO", "cannot build "+pkg+": Go is not installed", "install it from https://go.dev/dl, or give a binary:  weir run BINARY")
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	lines := append([]string{"cannot build " + pkg}, nonEmptyLines(text)...)
	return &exit.Error{Exit: exit.CodeFailed, Code: "BUILD_FAILED", Lines: lines}
}

func nonEmptyLines(b []byte) (lines []string) {
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimRight(line, "\r\n\t "); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// planTimeout bounds how long a program may take to declare its job.
const planTimeout = 30 * time.Second

// Plan asks the program for its plan, with the given arguments and environment. A nil
// plan without an error means that it was asked for its flags, and has said them on stdout.
// say is told what the program has to say.
func (p Program) Plan(ctx context.Context, args, environ []string, stdout io.Writer, say func(string)) (*metapb.Plan, error) {
	dir, err := os.MkdirTemp("", "weir-plan-")
	if err != nil {
		return nil, fmt.Errorf("make folder for the plan: %w", err)
	}
	defer removeAll(dir)
	out := filepath.Join(dir, "plan")
	ctx, cancel := context.WithTimeout(ctx, planTimeout)
	defer cancel()
	var help, talk bytes.Buffer
	cmd := exec.CommandContext(ctx, p.Local, args...)
	cmd.Env = append(programEnv(environ), weir.EnvPlan+"="+out)
	cmd.Stdout, cmd.Stderr = &help, &talk
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return nil, planFailure(ctx, p, err, talk.Bytes())
	}
	encoded, err := os.ReadFile(out)
	if err != nil || len(encoded) == 0 {
		if slices.ContainsFunc(args, func(a string) bool { return slices.Contains([]string{"-h", "-help", "--help"}, a) }) {
			fmt.Fprint(stdout, help.String())
			return nil, nil
		}
		return nil, badBinary(p.Name, "is not a Weir job: it ended without a plan", "its main must end in weir.Main(build)")
	}
	plan := new(metapb.Plan)
	if err := proto.Unmarshal(encoded, plan); err != nil {
		return nil, exit.New(exit.CodeFailed, "BAD_PLAN", fmt.Sprintf("%s wrote a plan of %d bytes that can't be read: %v", p.Name, len(encoded), err))
	}
	if text := strings.TrimRight(talk.String(), "\n"); text != "" {
		say(text)
	}
	return plan, nil
}

// programEnv is the environment without what is ours: a program must not take itself
// for a worker.
func programEnv(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(e string) bool {
		return strings.HasPrefix(e, weir.EnvPlan+"=") || strings.HasPrefix(e, weir.EnvWorker)
	})
}

// planFailure says why a program did not tell its plan.
func planFailure(ctx context.Context, p Program, err error, stderr []byte) error {
	var ended *exec.ExitError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return badBinary(p.Name, fmt.Sprintf("is not a Weir job: it has told no plan within %v", planTimeout), "its main must end in weir.Main(build), and build must not wait for anything")
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !errors.As(err, &ended):
		return badBinary(p.Name, "can't be started: "+err.Error())
	}
	if !callsMain(p.Local) {
		return badBinary(p.Name, "is not a Weir job: it uses "+module+", and nowhere calls weir.Main", "its main must end in weir.Main(build)")
	}
	lines := nonEmptyLines(stderr)
	for i, line := range lines {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return &exit.Error{Exit: exit.CodeFailed, Code: "PROGRAM_PANICKED", Lines: append([]string{fmt.Sprintf("%s panicked before it told its plan: %s", p.Name, line)}, panicPlace(lines[i+1:])...)}
		}
	}
	code, exitAs := "PLAN_FAILED", exit.CodeFailed
	if ended.ExitCode() == exit.CodeUsage {
		code, exitAs = "PROGRAM_USAGE", exit.CodeUsage
	}
	why := ended.String()
	if len(lines) > 0 {
		why = strings.TrimPrefix(lines[0], "error: ")
		lines = lines[1:]
	}
	lines = lines[:min(len(lines), 10)]
	var hints []string
	if exitAs == exit.CodeFailed { // it is the program that is not right
		run := p.Name
		if p.dir != "" {
			run = "go run " + p.Name
		}
		hints = []string{"mend it, and try it by itself:  " + run + " --plan"}
	}
	return &exit.Error{Exit: exitAs, Code: code, Lines: append([]string{fmt.Sprintf("%s did not tell its plan: %s", p.Name, why)}, lines...), Hints: hints}
}

// callsMain reports whether a Go program has weir.Main in it: the linker leaves out what
// is never called, and the names of functions stay in a stripped program. What can't be
// read is taken to have it.
func callsMain(path string) bool {
	b, err := os.ReadFile(path)
	return err != nil || bytes.Contains(b, []byte(module+".Main\x00"))
}

// panicPlace is where a stack, as Go prints it, leaves what is neither Go's runtime nor
// ours: the file under the first such function.
func panicPlace(stack []string) []string {
	for i, line := range stack {
		if i == 0 || !strings.HasPrefix(line, "\t") {
			continue
		}
		function := stack[i-1]
		if !strings.HasPrefix(function, "runtime.") && !strings.HasPrefix(function, "panic(") && !strings.HasPrefix(function, module+".") {
			place, _, _ := strings.Cut(strings.TrimSpace(line), " +0x")
			return []string{"at " + place}
		}
	}
	return nil
}
