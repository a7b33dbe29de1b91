package lint

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documents name things that exist: `pkg.Symbol`, `pkg.Type.Member`, and paths.
var documents = []string{"ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"}

var (
	codeSpan   = regexp.MustCompile("`([^`\n]+)`")
	symbolSpan = regexp.MustCompile(`^\*?([a-z][a-z0-9]*)\.([A-Z]\w*(?:\.\w+)?)(?:\[[^]]*\])?(?:\(\))?$`)
	pathSpan   = regexp.MustCompile(`^(?:\./)?([a-zA-Z][\w.-]*(?:/[\w.-]+)*)/?$`)
)

func TestDocuments(t *testing.T) {
	r := repository(t)
	symbols := r.symbols()
	for _, name := range documents {
		text, err := os.ReadFile(filepath.Join(r.root, name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			for _, span := range codeSpan.FindAllStringSubmatch(line, -1) {
				if what := r.unresolved(span[1], symbols); what != "" {
					t.Errorf("%s:%d: `%s`: %s", name, i+1, span[1], what)
				}
			}
		}
	}
}

// unresolved says what is wrong with a span of code in a document, or nothing.
func (t *tree) unresolved(span string, symbols map[string][]string) string {
	if m := symbolSpan.FindStringSubmatch(span); m != nil {
		if known, ours := symbols[m[1]]; ours && !slices.Contains(known, m[2]) {
			return "package " + m[1] + " has no " + m[2]
		}
		return ""
	}
	m := pathSpan.FindStringSubmatch(span)
	if m == nil || !strings.Contains(m[1], "/") {
		return ""
	}
	top, _, _ := strings.Cut(m[1], "/")
	if _, err := os.Stat(filepath.Join(t.root, top)); err != nil || skipped(top) {
		return "" // not a path of ours
	}
	if _, err := os.Stat(filepath.Join(t.root, filepath.FromSlash(m[1]))); err != nil {
		return "no such file or folder"
	}
	return ""
}

// symbols lists what packages declare, by package name: functions, types, their methods
// and fields, values.
func (t *tree) symbols() map[string][]string {
	all := map[string][]string{}
	for _, p := range t.sorted() {
		if p.name == "main" {
			continue
		}
		list := all[p.name]
		for _, f := range p.files {
			for _, decl := range f.ast.Decls {
				list = append(list, declared(decl)...)
			}
		}
		if list == nil {
			list = []string{}
		}
		all[p.name] = list
	}
	return all
}

func declared(decl ast.Decl) (list []string) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Recv == nil {
			return []string{decl.Name.Name}
		}
		return []string{receiver(decl.Recv.List[0].Type) + "." + decl.Name.Name}
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, n := range spec.Names {
					list = append(list, n.Name)
				}
			case *ast.TypeSpec:
				list = append(list, spec.Name.Name)
				for _, m := range members(spec.Type) {
					list = append(list, spec.Name.Name+"."+m)
				}
			}
		}
	}
	return list
}

// members names the fields of a struct and the methods of an interface.
func members(e ast.Expr) (list []string) {
	var fields *ast.FieldList
	switch e := e.(type) {
	case *ast.StructType:
		fields = e.Fields
	case *ast.InterfaceType:
		fields = e.Methods
	default:
		return nil
	}
	for _, f := range fields.List {
		for _, n := range f.Names {
			list = append(list, n.Name)
		}
		if len(f.Names) == 0 {
			list = append(list, receiver(f.Type))
		}
	}
	return list
}

// receiver is the bare type name of a receiver or an embedded field.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func TestUnresolved(t *testing.T) {
	r := repository(t)
	symbols := r.symbols()
	for span, good := range map[string]bool{
		"stream.KeyGroup":           true,
		"loop.Loop.Post":            true,
		"loop.Options.Capacity":     true,
		"loop.New()":                true,
		"loop.Loop.Nothing":         false,
		"stream.NoSuchThing":        false,
		"sstable.Writer":            true, // not ours
		"_metadata":                 true,
		"internal/lint/tree.go":     true,
		"internal/lint/":            true,
		"internal/lint/notthere.go": false,
		"shared/run-7":              true, // not a folder of ours
		"bin/weir":                  true,
	} {
		if what := r.unresolved(span, symbols); (what == "") != good {
			t.Errorf("`%s`: %q, want good = %v", span, what, good)
		}
	}
}
