package grpcresolver_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/lictor-go/consul/integrations/grpcresolver"
)

// A channel to the instances of a service. No request is sent before the first call.
func Example() {
	conn, err := grpc.NewClient("consul://127.0.0.1:8500/greeter?lb=round_robin",
		grpc.WithResolvers(grpcresolver.New(nil)),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	fmt.Println(conn.CanonicalTarget())
	// Output: consul://127.0.0.1:8500/greeter
}

// TestSnippets checks that the Go in README.md is compiled: it is in this file.
func TestSnippets(t *testing.T) {
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	words := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	if len(blocks) == 0 {
		t.Error("no block of Go")
	}
	for _, block := range blocks {
		if !strings.Contains(words(string(source)), words(block[1])) {
			t.Errorf("not in this file:\n%s", block[1])
		}
	}
}
