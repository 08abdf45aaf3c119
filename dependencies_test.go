package consul

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestDependencies checks the promise of the module: the standard library and
// nothing else, and in programs not even all of that.
func TestDependencies(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(mod), "module github.com/lictor-go/consul\n\ngo 1.23\n"; got != want {
		t.Errorf("go.mod is\n%swant\n%s", got, want)
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command: ", err)
	}
	out, err := exec.Command(goTool, "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(string(out)); len(got) != 1 || got[0] != "github.com/lictor-go/consul" {
		t.Errorf("not in the standard library: %q", got)
	}
	out, err = exec.Command(goTool, "list", "-deps", "./cmd/consulmock").Output()
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(strings.Fields(string(out)), "net/http/httptest") {
		t.Error("the command consulmock depends on net/http/httptest")
	}
	out, err = exec.Command(goTool, "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range strings.Fields(string(out)) {
		switch pkg {
		case "testing", "net/http/httptest", "net/http/httputil", "os/exec", "html/template", "text/template", "expvar":
			t.Errorf("the package depends on %s", pkg)
		}
	}
}

// TestPackagesSideBySide checks that the packages for what lives longer than a request
// do not import each other: a program has only what it uses.
func TestPackagesSideBySide(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command: ", err)
	}
	const module = "github.com/lictor-go/consul"
	out, err := exec.Command(goTool, "list", "-f", "{{.ImportPath}} {{join .Deps \" \"}}", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	side := []string{module + "/discovery", module + "/configuration", module + "/coordination"}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		pkg, deps, _ := strings.Cut(line, " ")
		if !slices.Contains(side, pkg) {
			continue
		}
		for _, dep := range strings.Fields(deps) {
			if slices.Contains(side, dep) || strings.HasPrefix(dep, module+"/consulmock") {
				t.Errorf("%s imports %s", pkg, dep)
			}
		}
	}
}

// TestVendoringNamesAllPackages checks that who copies the packages by docs/vendoring.md
// has all that they import.
func TestVendoringNamesAllPackages(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command: ", err)
	}
	page, err := os.ReadFile("docs/vendoring.md")
	if err != nil {
		t.Skip("the pages are not here: ", err)
	}
	out, err := exec.Command(goTool, "list", "-deps", "./discovery", "./configuration", "./coordination", "./consulmock").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range strings.Fields(string(out)) {
		folder, inside := strings.CutPrefix(pkg, "github.com/lictor-go/consul/")
		if inside && !strings.HasPrefix(folder, "consulmock/") && !strings.Contains(string(page), `"$LICTOR"/`+folder+" ") {
			t.Errorf("docs/vendoring.md does not copy %s", folder)
		}
	}
}
