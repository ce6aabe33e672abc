package flint_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "flint"

// layers, lowest first. A package imports only packages of lower layers.
var layers = [][]string{
	{"."},
	{"wire", "store", "bus", "feed", "blob", "sandbox", "runtimes", "auth", "config", "geo", "console"},
	{"client", "tables", "worker", "build", "probe"},
	{"invoke", "upload", "explain"},
	{"schedule", "trigger", "realtime", "proxy", "api", "admin"},
	{"server"},
	{"cli"},
	{"cmd"},
	{"bench", "conformance", "e2e"}, // they drive the program from outside
}

func layer(t *testing.T, pkg string) int {
	t.Helper()
	top, _, _ := strings.Cut(pkg, "/")
	for i, l := range layers {
		if slices.Contains(l, top) {
			return i
		}
	}
	t.Fatalf("package %s has no layer: give it one in arch_test.go", pkg)
	return -1
}

// forbidden says why package from may not import package to, or nothing.
func forbidden(t *testing.T, from, to string) string {
	t.Helper()
	a, _, _ := strings.Cut(from, "/")
	b, _, _ := strings.Cut(to, "/")
	switch {
	case a == "internal":
		return "internal packages know nothing of ours"
	case a == b && strings.HasPrefix(from, to+"/"): // blob/fs imports blob
		return ""
	case a == b:
		return "a package knows neither its children nor its siblings"
	case layer(t, b) >= layer(t, a):
		return "imports point down"
	}
	return ""
}

func TestImportsPointDown(t *testing.T) {
	docs := map[string]int{}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "adapter" || strings.HasPrefix(d.Name(), ".") && file != ".") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		self := path.Dir(filepath.ToSlash(file))
		docs[self] += 0
		if f.Doc != nil {
			docs[self]++
		}
		for _, spec := range f.Imports {
			imp, _ := strconv.Unquote(spec.Path.Value)
			to, ours := strings.CutPrefix(imp+"/", module+"/")
			switch to = strings.TrimSuffix(to, "/"); {
			case !ours:
				if host, _, _ := strings.Cut(imp, "/"); self == "." && strings.Contains(host, ".") {
					t.Errorf("%s imports %s: the root package imports only the standard library", file, imp)
				}
				continue
			case to == "":
				to = "."
			case strings.HasPrefix(to, "internal") && !strings.HasPrefix(self, "internal"):
				continue
			}
			if why := forbidden(t, self, to); why != "" {
				t.Errorf("%s imports %s: %s", file, to, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg, n := range docs {
		if n != 1 {
			t.Errorf("package %s has %d package comments, want 1", pkg, n)
		}
	}
}
