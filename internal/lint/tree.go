package lint

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/weirstream/weir"

// tree is every Go file of the repository, parsed.
type tree struct {
	root     string
	fset     *token.FileSet
	files    []*file
	packages map[string]*pkg // by folder relative to root; the root package is "."
}

// file is one Go file.
type file struct {
	path      string // relative to root, slashes
	source    []byte
	ast       *ast.File
	test      bool // _test.go
	generated bool
}

// pkg is the files of one folder that are no tests.
type pkg struct {
	dir     string
	name    string
	files   []*file
	imports []string // all imports of files, sorted, each once
}

// findRoot walks up to the go.mod of the module.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find repository: %w", err)
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module "+module+"\n") {
			return dir, nil
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		return "", errors.New("find repository: no go.mod of " + module + " above")
	}
}

// skipped folders hold nothing that is written by hand.
func skipped(name string) bool {
	return name == ".git" || name == "bin" || name == "node_modules"
}

// load parses every Go file below root. Files of testdata are no packages of ours.
func load(root string) (*tree, error) {
	t := &tree{root: root, fset: token.NewFileSet(), packages: map[string]*pkg{}}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed while we walk
		case err != nil:
			return err
		case d.IsDir() && (skipped(d.Name()) || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || path.Ext(p) != ".go":
			return nil
		}
		return t.add(p)
	})
	if err != nil {
		return nil, fmt.Errorf("walk repository: %w", err)
	}
	for _, p := range t.packages {
		slices.Sort(p.imports)
		p.imports = slices.Compact(p.imports)
	}
	return t, nil
}

func (t *tree) add(name string) error {
	source, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(t.root, name)
	if err != nil {
		return err
	}
	rel = filepath.ToSlash(rel)
	parsed, err := parser.ParseFile(t.fset, rel, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("parse: %w", err)
	}
	f := &file{
		path: rel, source: source, ast: parsed,
		test:      strings.HasSuffix(rel, "_test.go"),
		generated: ast.IsGenerated(parsed),
	}
	t.files = append(t.files, f)
	if f.test {
		return nil
	}
	dir := path.Dir(rel)
	p := t.packages[dir]
	if p == nil {
		p = &pkg{dir: dir, name: parsed.Name.Name}
		t.packages[dir] = p
	}
	p.files = append(p.files, f)
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return fmt.Errorf("parse %s: %w", rel, err)
		}
		p.imports = append(p.imports, imported)
	}
	return nil
}

// own turns an import path of this module into a folder.
func own(imported string) (dir string, ok bool) {
	if imported == module {
		return ".", true
	}
	return strings.CutPrefix(imported, module+"/")
}

// inTools says whether a folder belongs to the module of tools.
func inTools(dir string) bool { return dir == "tools" || strings.HasPrefix(dir, "tools/") }

// sorted returns the folders of all packages of the main module.
func (t *tree) sorted() []*pkg {
	var list []*pkg
	for _, p := range t.packages {
		if !inTools(p.dir) {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b *pkg) int { return strings.Compare(a.dir, b.dir) })
	return list
}

// lines counts the lines of a node.
func (t *tree) lines(n ast.Node) int {
	return t.fset.Position(n.End()).Line - t.fset.Position(n.Pos()).Line + 1
}

// at is where a node stands, for messages.
func (t *tree) at(n ast.Node) string {
	p := t.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}
