// Package examples runs examples of the root module as their READMEs say, on the
// fake agent and on a real one, and compares what they print with what is there.
package examples

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/internal/agenttest"
)

// onAgents runs a test on the fake and on a real agent, each with its address.
func onAgents(t *testing.T, test func(t *testing.T, address string)) {
	t.Run("fake", func(t *testing.T) {
		t.Parallel()
		test(t, consulmock.New(t, consulmock.WithProbes(true)).URL())
	})
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		test(t, agenttest.Start(t, agenttest.Options{}).Addr)
	})
}

func TestServices(t *testing.T) {
	onAgents(t, func(t *testing.T, address string) {
		got, want := run(t, "services", address), expected(t, "services")
		if got != want {
			t.Errorf("printed\n%s\nthe README has\n%s", got, want)
		}
	})
}

// TestHTTPCheck takes a minute and a half, because agents do.
func TestHTTPCheck(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute and a half")
	}
	neutral := func(s string) string {
		s = regexp.MustCompile(`(?m)^ *\d+s  `).ReplaceAllString(s, "")
		s = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(s, "ADDRESS")
		// The first run of the check may come before the program has looked.
		return strings.Replace(s, "critical\npassing\n", "passing\n", 1)
	}
	onAgents(t, func(t *testing.T, address string) {
		got, want := run(t, "httpcheck", address), expected(t, "httpcheck")
		if neutral(got) != neutral(want) {
			t.Errorf("printed\n%s\nthe README has\n%s", got, want)
		}
	})
}

// TestMeshCertificates needs an agent with a mesh, which the fake has not.
func TestMeshCertificates(t *testing.T) {
	t.Parallel()
	sorted := func(s string) string {
		lines := strings.SplitAfter(s, "\n")
		slices.Sort(lines)
		return strings.Join(lines, "")
	}
	got, want := run(t, "mesh-certificates", agenttest.Start(t, agenttest.Options{}).Addr), expected(t, "mesh-certificates")
	if sorted(got) != sorted(want) {
		t.Errorf("printed\n%s\nthe README has\n%s", got, want)
	}
}

// TestMeshRotation changes the authority of the mesh while the example follows it.
func TestMeshRotation(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, build(t, "mesh-certificates"), "-follow")
	cmd.Env = append(os.Environ(), "CONSUL_HTTP_ADDR="+a.Addr)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	await := func(want ...string) {
		t.Helper()
		for lines.Scan() {
			if want = slices.DeleteFunc(want, func(s string) bool { return s == lines.Text() }); len(want) == 0 {
				return
			}
		}
		t.Errorf("did not print %q", want)
	}
	await("hello  /ns/default/dc/dc1/svc/web")
	start := time.Now()
	// 1.8.7 keeps the authority unless it is given another key.
	configuration := map[string]any{"Provider": "consul", "Config": map[string]any{"LeafCertTTL": "72h", "PrivateKey": privateKey(t), "RootCert": "", "RotationPeriod": "2160h"}}
	if err := a.Client().Raw().Write(ctx, "/v1/connect/ca/configuration", configuration, nil, nil); err != nil {
		t.Fatal(err)
	}
	await("roots  2")
	t.Logf("two roots after %s", time.Since(start))
	await("leaf   web")
	t.Logf("a new leaf after %s", time.Since(start))
	cancel()
	cmd.Wait() // was killed
}

// privateKey returns a new key of an authority, as PEM.
func privateKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

// run builds an example and returns what it prints.
func run(t *testing.T, name, address string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, build(t, name))
	cmd.Env = append(os.Environ(), "CONSUL_HTTP_ADDR="+address)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v, after it has printed\n%s", err, out)
	}
	return string(out)
}

// build builds an example and returns its path.
func build(t *testing.T, name string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-o", bin, "./examples/"+name)
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return bin
}

// expected returns the indented block after "It prints" in the README of an
// example.
func expected(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("../../examples/" + name + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(data), "It prints")
	_, block, ok := strings.Cut(after, ":\n\n")
	if !ok {
		t.Fatalf("%s/README.md does not say what it prints", name)
	}
	var lines strings.Builder
	for _, line := range strings.SplitAfter(block, "\n") {
		text, isIndented := strings.CutPrefix(line, "    ")
		if !isIndented {
			break
		}
		lines.WriteString(text)
	}
	return lines.String()
}
