package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBuild builds a program that has nothing but a resolver and the gRPC of this
// module. With mbobakov's, v1.5.3 beside grpc-go v1.85.0, the go command says
//
//	google.golang.org/grpc/status/status.go:35:2: ambiguous import: found package
//	google.golang.org/genproto/googleapis/rpc/status in multiple modules:
//		google.golang.org/genproto v0.0.0-20230110181048-76db0878b65f
//		google.golang.org/genproto/googleapis/rpc v0.0.0-20260817212433-ac3dfec99bb1
//
// and "go mod tidy" the same, until the user finds out that the former has to be
// raised. That is why this module requires genproto.
func TestBuild(t *testing.T) {
	t.Run("ours", func(t *testing.T) {
		root, err := filepath.Abs("../../..")
		if err != nil {
			t.Fatal(err)
		}
		out, err := build(t, "github.com/lictor-go/consul/integrations/grpcresolver", "v0.0.0",
			"github.com/lictor-go/consul => "+root,
			"github.com/lictor-go/consul/conformance => "+filepath.Join(root, "conformance"),
			"github.com/lictor-go/consul/integrations/grpcresolver => "+filepath.Join(root, "integrations", "grpcresolver"))
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("theirs", func(t *testing.T) {
		const module = "github.com/mbobakov/grpc-consul-resolver"
		out, err := build(t, module, version(t, module))
		switch {
		case err == nil:
			t.Error("mbobakov's resolver has this bug no more")
		case strings.Contains(out, "ambiguous import"):
			t.Log(out)
		default:
			t.Skip("the old genproto, which is in no go.sum here, cannot be downloaded: " + out)
		}
	})
}

// build builds a program that imports the module, and returns what the go command
// has printed.
func build(t *testing.T, module, moduleVersion string, replace ...string) (string, error) {
	t.Helper()
	const grpcModule = "google.golang.org/grpc"
	mod := fmt.Sprintf("module example.com/program\n\ngo 1.25\n\nrequire (\n\t%s %s\n\t%s %s\n)\n",
		module, moduleVersion, grpcModule, version(t, grpcModule))
	for _, r := range replace {
		mod += "replace " + r + "\n"
	}
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod":  mod,
		"go.sum":  string(sums),
		"main.go": fmt.Sprintf("package main\n\nimport (\n\t_ %q\n\t_ %q\n)\n\nfunc main() {}\n", grpcModule, module),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-mod=mod", "-o", os.DevNull, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// version returns the version of a module that this module requires.
func version(t *testing.T, module string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
