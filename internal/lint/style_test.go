package lint

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Names that say nothing about what a package owns.
var emptyNames = []string{"util", "utils", "common", "base", "models", "helper", "helpers", "misc", "shared", "types"}

var emptyTypeName = regexp.MustCompile(`(Impl|Manager\d+)$`)

func TestNames(t *testing.T) {
	r := repository(t)
	for _, p := range r.sorted() {
		if slices.Contains(emptyNames, p.name) {
			t.Errorf("package %s: the name says nothing; name it by what it owns", p.dir)
		}
	}
	for _, f := range r.files {
		if f.generated {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && emptyTypeName.MatchString(spec.Name.Name) {
				t.Errorf("%s: type %s: name it by how it differs", r.at(spec), spec.Name.Name)
			}
			return true
		})
	}
}

// minPackageDoc is what it takes at least to say what a package owns and what it never
// does, in bytes.
const minPackageDoc = 120

func TestPackageDocs(t *testing.T) {
	for _, p := range repository(t).sorted() {
		var where []string
		for _, f := range p.files {
			if f.generated || f.ast.Doc == nil {
				continue
			}
			where = append(where, f.path)
			text := f.ast.Doc.Text()
			if p.name != "main" && !strings.HasPrefix(text, "Package "+p.name+" ") {
				t.Errorf("%s: the package's comment must begin with %q", f.path, "Package "+p.name)
			}
			if len(text) < minPackageDoc && p.name != "main" {
				t.Errorf("%s: the package's comment must say what it owns, what it never does, and where to start reading", f.path)
			}
		}
		if len(where) != 1 {
			t.Errorf("package %s has %d comments on its package clauses %v, want 1", p.dir, len(where), where)
		}
	}
}

// Tests wait for events, or sleep in virtual time: a time.Sleep must stand inside a
// call of synctest.Test, or in a function marked //lint:bubble that is called from one.
func TestNoSleepInTests(t *testing.T) {
	r := repository(t)
	for _, f := range r.files {
		if !f.test {
			continue
		}
		for _, n := range sleeps(f.ast) {
			t.Errorf("%s: time.Sleep in a test outside synctest.Test", r.at(n))
		}
	}
}

func isCall(n ast.Node, pkg, name string) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == pkg
}

func sleeps(f *ast.File) (found []ast.Node) {
	ast.Inspect(f, func(n ast.Node) bool {
		if fn, ok := n.(*ast.FuncDecl); ok && hasDirective(fn.Doc, "//lint:bubble") {
			return false
		}
		if isCall(n, "synctest", "Test") {
			return false
		}
		if isCall(n, "time", "Sleep") {
			found = append(found, n)
		}
		return true
	})
	return found
}

// misuse are files that panic at a mistake of the program's author where no error can be
// returned, with the reason.
var misuse = map[string]string{
	"integration/cluster/jobs/trouble/main.go": "a program whose author makes mistakes, for tests",

	"codec/proto.go": "a message with a string that is not UTF-8 is the record's mistake, and Append returns no error",

	"statebackend/table/value.go": "a state handle used while the job is built has no error to return",
}

// A panic with a text is a broken invariant of ours and says so; whatever else goes
// wrong is an error.
func TestPanics(t *testing.T) {
	r := repository(t)
	for _, f := range r.files {
		if f.test || f.generated || misuse[f.path] != "" {
			continue
		}
		for _, n := range barePanics(f.ast) {
			t.Errorf("%s: panic text must begin with \"weir: BUG: \"; return an error if it is not a bug", r.at(n))
		}
	}
}

func barePanics(f *ast.File) (found []ast.Node) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 1 {
			return true
		}
		if id, ok := call.Fun.(*ast.Ident); !ok || id.Name != "panic" {
			return true
		}
		if text, ok := leadingText(call.Args[0]); ok && !strings.HasPrefix(text, "weir: BUG: ") {
			found = append(found, n)
		}
		return true
	})
	return found
}

// leadingText is the literal with which an expression's text begins: of a literal, a
// sum, or a formatting call.
func leadingText(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil && e.Kind == token.STRING
	case *ast.BinaryExpr:
		return leadingText(e.X)
	case *ast.CallExpr:
		if len(e.Args) > 0 && (isCall(e, "fmt", "Sprintf") || isCall(e, "fmt", "Sprint") || isCall(e, "fmt", "Errorf") || isCall(e, "errors", "New")) {
			return leadingText(e.Args[0])
		}
	}
	return "", false
}

func TestFormatted(t *testing.T) {
	for _, f := range repository(t).files {
		want, err := format.Source(f.source)
		if err != nil {
			t.Errorf("%s: %v", f.path, err)
		} else if !bytes.Equal(f.source, want) {
			t.Errorf("%s is not formatted: make fmt", f.path)
		}
	}
}

func TestStyleFinders(t *testing.T) {
	const source = `package x
func a() { time.Sleep(1) }
func b() { synctest.Test(t, func(t *testing.T) { time.Sleep(1) }) }
//lint:bubble
func c() { time.Sleep(1) }
func d() { panic("oops"); panic("weir: BUG: x"); panic(err) }
func e() { panic(fmt.Sprintf("oops %d", 1)); panic("oops" + x); panic(fmt.Sprintf("weir: BUG: %d", 1)) }`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "x.go", source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	if got := sleeps(f); len(got) != 1 || fset.Position(got[0].Pos()).Line != 2 {
		t.Errorf("found %d sleeps, want the one in line 2", len(got))
	}
	if got := barePanics(f); len(got) != 3 {
		t.Errorf("found %d bare panics, want 3", len(got))
	}
}
