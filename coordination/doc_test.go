package coordination

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestPromises checks that the tests which the comment of the package names exist.
func TestPromises(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{}
	for _, pattern := range []string{"*_test.go", "../conformance/coordination/*_test.go", "../conformance/officialclient/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(text, -1) {
				declared[string(m[1])] = true
			}
		}
	}
	if _, err := os.Stat("../conformance/coordination"); err != nil {
		t.Skip("the module conformance is not here: ", err)
	}
	named := regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(string(doc), -1)
	for _, test := range named {
		if !declared[test] {
			t.Errorf("there is no %s", test)
		}
	}
	if len(named) < 10 {
		t.Errorf("%d tests are named", len(named))
	}
}
