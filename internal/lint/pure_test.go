package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pure packages are step functions: the same events give the same effects, so that the
// simulator can replay them and a transcript can test them. Time comes in as an argument.
var pure = []string{"taskmanager/align", "stream/watermark", "coordinator", "coordinator/restore", "jobmanager/adoption", "jobmanager/drift", "jobmanager/execgraph", "jobmanager/history", "jobmanager/operations", "jobmanager/slots"}

// impureImports are refused with everything below them.
var impureImports = []string{"net", "os", "sync", "context", "log", "io/fs", "io/ioutil", "math/rand", "crypto/rand", "runtime", "syscall", "unsafe", "path/filepath"}

// impureTime are functions of package time that look at a clock or wait.
var impureTime = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"}

// impurities lists what a pure file must not contain.
func impurities(f *ast.File) (found []impurity) {
	timeName := "" // by which the file knows package time
	for _, spec := range f.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		for _, bad := range impureImports {
			if path == bad || strings.HasPrefix(path, bad+"/") {
				found = append(found, impurity{spec, "imports " + path})
			}
		}
		if path == "time" {
			timeName = "time"
			if spec.Name != nil {
				timeName = spec.Name.Name
			}
			if timeName == "." {
				found = append(found, impurity{spec, "imports time by dot"})
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = append(found, impurity{n, "starts a goroutine"})
		case *ast.SelectStmt:
			found = append(found, impurity{n, "selects"})
		case *ast.ChanType:
			found = append(found, impurity{n, "has a channel"})
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && timeName != "" && x.Name == timeName && slices.Contains(impureTime, n.Sel.Name) {
				found = append(found, impurity{n, "uses time." + n.Sel.Name})
			}
		}
		return true
	})
	return found
}

type impurity struct {
	node ast.Node
	what string
}

func TestPureCores(t *testing.T) {
	r := repository(t)
	for _, dir := range pure {
		p := r.packages[dir]
		if p == nil {
			continue
		}
		for _, f := range p.files {
			for _, i := range impurities(f.ast) {
				t.Errorf("%s: pure package %s %s", r.at(i.node), dir, i.what)
			}
		}
	}
}

func TestImpurities(t *testing.T) {
	const source = `package x
import (clock "time"; "sync/atomic"; "fmt")
var a = clock.Now()
var ok = clock.Second
func f() { go f(); fmt.Println(); select {} }
var c chan int
var _ atomic.Bool`
	f, err := parser.ParseFile(token.NewFileSet(), "x.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range impurities(f) {
		got = append(got, i.what)
	}
	want := []string{"imports sync/atomic", "uses time.Now", "starts a goroutine", "selects", "has a channel"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
