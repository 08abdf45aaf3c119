package consul_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// files returns the files of this module whose names end so.
func files(t *testing.T, suffix string) []string {
	return filesBelow(t, suffix, func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		return err != nil
	})
}

// filesBelow returns the files here and in the folders that are wanted.
func filesBelow(t *testing.T, suffix string, wanted func(dir string) bool) (list []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != "." && (entry.Name()[0] == '.' || !wanted(path)) {
			return filepath.SkipDir
		}
		if !entry.IsDir() && strings.HasSuffix(path, suffix) {
			list = append(list, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func text(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestSnippets checks that the Go in the pages is compiled: each block is in a Go
// file, except for blanks. A line "// ..." in a block stands for what is left out.
func TestSnippets(t *testing.T) {
	const (
		migration = "docs/migration.md"      // shows another client too
		adapters  = "integrations/README.md" // shows what is in other modules
	)
	_, err := os.Stat("conformance")
	isAlone := err != nil // the modules inside this one are not here
	plain := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	var sources []string
	for _, file := range filesBelow(t, ".go", func(string) bool { return true }) {
		sources = append(sources, plain(text(t, file)))
	}
	isCompiled := func(block string) bool {
		parts := regexp.MustCompile(`(?m)^\s*// \.\.\.$`).Split(block, -1)
		return slices.ContainsFunc(sources, func(source string) bool {
			for _, part := range parts {
				_, rest, found := strings.Cut(source, plain(part))
				if !found {
					return false
				}
				source = rest
			}
			return true
		})
	}
	blocks := 0
	for _, page := range files(t, ".md") {
		if name := filepath.ToSlash(page); name == migration || name == adapters && isAlone {
			continue
		}
		for _, m := range regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(text(t, page), -1) {
			blocks++
			if !isCompiled(m[1]) {
				t.Errorf("%s: in no Go file:\n%s", page, m[1])
			}
		}
	}
	if blocks < 10 {
		t.Errorf("found %d blocks of Go in the pages", blocks)
	}
}

// TestTranslation checks that the README says the same in each language, as far as a
// program can tell: the same Go and commands, tables of the same size, and links to the
// same places.
func TestTranslation(t *testing.T) {
	english, chinese := text(t, "README.md"), text(t, "README.zh-CN.md")
	for name, pattern := range map[string]string{
		"Go":       "(?ms)^```go\n.*?^```$",
		"commands": `(?m)^    \S.*$`,
		"headings": `(?m)^#+`,
		"rows":     `(?m)^\|`,
		"items":    `(?m)^\*`,
		"links":    `\]\((?:[^)R]|R[^)E])[^)]*\)`, // except those to each other
	} {
		find := regexp.MustCompile(pattern)
		want, got := find.FindAllString(english, -1), find.FindAllString(chinese, -1)
		if name == "links" { // their order depends on the language
			slices.Sort(want)
			slices.Sort(got)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d in README.zh-CN.md are not the %d of README.md", name, len(got), len(want))
		}
	}
}

// TestNamedTests checks that the tests which the pages name exist.
func TestNamedTests(t *testing.T) {
	if _, err := os.Stat("conformance"); err != nil {
		t.Skip("the modules inside this one are not here: ", err)
	}
	declared := map[string]bool{}
	for _, file := range filesBelow(t, "_test.go", func(string) bool { return true }) {
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w*)\(`).FindAllStringSubmatch(text(t, file), -1) {
			declared[m[1]] = true
		}
	}
	for page, atLeast := range map[string]int{"SECURITY.md": 20, "docs/configuration.md": 15} {
		named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`).FindAllString(text(t, page), -1)
		if len(named) < atLeast {
			t.Errorf("%s names %d tests", page, len(named))
		}
		for _, name := range named {
			if !declared[name] {
				t.Errorf("%s names %s, which does not exist", page, name)
			}
		}
	}
}

// TestLinks checks that what the pages link to exists, headings included.
func TestLinks(t *testing.T) {
	if _, err := os.Stat("conformance"); err != nil {
		t.Skip("the modules inside this one are not here: ", err)
	}
	for _, page := range files(t, ".md") {
		for _, m := range regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]+))?\)`).FindAllStringSubmatch(text(t, page), -1) {
			target := filepath.Join(filepath.Dir(page), m[1])
			switch info, err := os.Stat(target); {
			case strings.Contains(m[1], "://"):
			case m[1] == "" && m[2] == "", err != nil && m[1] != "":
				t.Errorf("%s links to %q: %v", page, m[0], err)
			case m[2] == "":
			default:
				if m[1] == "" || info.IsDir() {
					target = page
				}
				if !slices.Contains(anchors(text(t, target)), m[2]) {
					t.Errorf("%s links to %q, which is no heading", page, m[0])
				}
			}
		}
	}
}

// TestMap checks the map in CONTRIBUTING.md: that each path in it exists, that each
// file.go:name in it is declared in that file, and that the folder of every package
// is in its table, or is below one that is.
func TestMap(t *testing.T) {
	if _, err := os.Stat("conformance"); err != nil {
		t.Skip("the modules inside this one are not here: ", err)
	}
	_, chart, _ := strings.Cut(text(t, "CONTRIBUTING.md"), "\n## The map\n")
	chart, _, _ = strings.Cut(chart, "\n## ")
	names := 0
	for _, m := range regexp.MustCompile("`([\\w.-][\\w./-]*)(?::([\\w.]+))?`").FindAllStringSubmatch(chart, -1) {
		path, name := m[1], m[2]
		switch {
		case name != "":
			names++
			if !slices.Contains(declarations(t, path), name) {
				t.Errorf("%s does not declare %s", path, name)
			}
		case strings.ContainsAny(path, "/"), strings.HasSuffix(path, ".go"):
			if _, err := os.Stat(path); err != nil {
				t.Error(err)
			}
		}
	}
	if names < 20 {
		t.Errorf("the map names %d functions", names)
	}
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(chart, -1) {
		rows = append(rows, m[1])
	}
	for _, file := range filesBelow(t, ".go", func(string) bool { return true }) {
		dir := filepath.ToSlash(filepath.Dir(file))
		if !slices.ContainsFunc(rows, func(row string) bool { return dir == row || strings.HasPrefix(dir, row+"/") }) {
			t.Errorf("no row for %s", dir)
		}
	}
}

// declarations returns the names that a Go file declares: functions, types, variables,
// and methods as Type.Method.
func declarations(t *testing.T, file string) (names []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Error(err)
		return nil
	}
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				name = receiver(d.Recv.List[0].Type) + "." + name
			}
			names = append(names, name)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					names = append(names, s.Name.Name)
				case *ast.ValueSpec:
					for _, name := range s.Names {
						names = append(names, name.Name)
					}
				}
			}
		}
	}
	return names
}

// receiver returns the name of the type of a receiver.
func receiver(expr ast.Expr) string {
	switch e := expr.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr: // of a generic type
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// anchors returns the names by which headings can be linked to.
func anchors(page string) (list []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(page, -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		list = append(list, strings.ReplaceAll(name, " ", "-"))
	}
	return list
}

// TestExportedNamesAreDescribed checks that every exported name has a comment: its
// own, or that of the group that it is declared in. Fields are described where
// their names do not say it all. The modules inside this one count, programs not.
func TestExportedNamesAreDescribed(t *testing.T) {
	for _, file := range filesBelow(t, ".go", func(string) bool { return true }) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if f.Name.Name == "main" {
			continue
		}
		for _, decl := range f.Decls {
			for _, name := range undescribed(decl) {
				t.Errorf("%s: %s has no comment", set.Position(name.Pos()), name.Name)
			}
		}
	}
}

// undescribed returns the exported names in a declaration that have no comment.
func undescribed(decl ast.Decl) (names []*ast.Ident) {
	add := func(name *ast.Ident, comments ...*ast.CommentGroup) {
		described := slices.ContainsFunc(comments, func(c *ast.CommentGroup) bool { return c != nil })
		if name.IsExported() && !described {
			names = append(names, name)
		}
	}
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type)) {
			add(d.Name, d.Doc)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				add(s.Name, s.Doc, d.Doc)
			case *ast.ValueSpec:
				for _, name := range s.Names {
					add(name, s.Doc, s.Comment, d.Doc)
				}
			}
		}
	}
	return names
}

// TestExamplesAreTested checks that every program below a folder examples, those of
// the modules inside this one included, has a test: beside it, or in that folder.
func TestExamplesAreTested(t *testing.T) {
	programs := 0
	for _, file := range filesBelow(t, "main.go", func(string) bool { return true }) {
		dir := filepath.Dir(file)
		if filepath.Base(filepath.Dir(dir)) != "examples" {
			continue
		}
		programs++
		beside, _ := filepath.Glob(filepath.Join(dir, "*_test.go"))
		above, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), "*_test.go"))
		if len(beside)+len(above) == 0 {
			t.Errorf("%s has no test", file)
		}
	}
	if programs < 5 {
		t.Errorf("found %d programs", programs)
	}
}
