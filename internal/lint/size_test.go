package lint

import (
	"go/ast"
	"strings"
	"testing"
)

// Limits: a reader holds a function, a file and a package in the head at once. The best
// Go code has its 99th percentile of functions at 80 lines.
const (
	maxFunction = 80
	maxStep     = 150 // of a Step switch, marked //lint:step in its comment
	maxFile     = 600
	maxPackage  = 4000 // without tests and generated code
	maxFanOut   = 15   // packages of ours that one imports
)

// manyImports are packages that may import more than maxFanOut of ours, with the reason.
var manyImports = map[string]string{
	"cmd/weir":             "the program: wires everything",
	"internal/minicluster": "wires a whole cluster in one process",
	"integration":          "proof sees everything",
	"weir":                 "the author's door: joins the contract, the runtime and local mode",
	"jobmanager":           "its loop drives every pure core and every store",
	"taskmanager/worker":   "wires a job's tasks with backends, exchange and control",
}

func TestSizes(t *testing.T) {
	r := repository(t)
	for _, f := range r.files {
		if f.generated {
			continue
		}
		if n := strings.Count(string(f.source), "\n"); n > maxFile {
			t.Errorf("%s has %d lines, limit %d: split it by what changes together", f.path, n, maxFile)
		}
		if f.test {
			continue
		}
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok {
				checkFunction(t, r, fn)
			}
		}
	}
	for _, p := range r.sorted() {
		lines, ours := 0, 0
		for _, f := range p.files {
			if !f.generated {
				lines += strings.Count(string(f.source), "\n")
			}
		}
		if lines > maxPackage {
			t.Errorf("package %s has %d lines, limit %d", p.dir, lines, maxPackage)
		}
		for _, imported := range p.imports {
			if _, ok := own(imported); ok {
				ours++
			}
		}
		if ours > maxFanOut && manyImports[node(p.dir)] == "" {
			t.Errorf("package %s imports %d packages of ours, limit %d", p.dir, ours, maxFanOut)
		}
	}
}

func checkFunction(t *testing.T, r *tree, fn *ast.FuncDecl) {
	limit := maxFunction
	if hasDirective(fn.Doc, "//lint:step") {
		limit = maxStep
	}
	if n := r.lines(fn); n > limit {
		t.Errorf("%s: function %s has %d lines, limit %d", r.at(fn), fn.Name.Name, n, limit)
	}
}

// hasDirective looks for a comment line that begins with the directive.
func hasDirective(doc *ast.CommentGroup, directive string) bool {
	if doc == nil {
		return false
	}
	for _, c := range doc.List {
		if c.Text == directive || strings.HasPrefix(c.Text, directive+" ") {
			return true
		}
	}
	return false
}
