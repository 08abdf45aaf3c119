package consulmock

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers are the packages below this one. Each may import those before it.
var layers = []string{"release", "filter", "memnet", "refusal", "state", "acl", "definition", "agent", "api"}

// TestLayers checks that packages import downwards only, so that each can be read
// without those above it.
func TestLayers(t *testing.T) {
	folders, err := os.ReadDir("internal")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if !slices.Contains(layers, f.Name()) {
			t.Errorf("internal/%s is not among the layers", f.Name())
		}
	}
	const below = "github.com/lictor-go/consul/consulmock/internal/"
	for i, layer := range layers {
		files, err := filepath.Glob(filepath.Join("internal", layer, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", layer, len(files), err)
		}
		for _, file := range files {
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range f.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if path+"/" == strings.TrimSuffix(below, "internal/") {
					t.Errorf("%s imports the package above it", file)
				}
				if name, ok := strings.CutPrefix(path, below); ok && !slices.Contains(layers[:i], name) {
					t.Errorf("%s imports %s, which is not below it", file, name)
				}
			}
		}
	}
}
