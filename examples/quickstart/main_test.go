package main

import (
	"context"
	"regexp"
	"strings"
	"testing"
)

// TestRun plays the quickstart on the embedded fake, and holds the order of its
// timeline against what it promises.
func TestRun(t *testing.T) {
	t.Setenv("CONSUL_HTTP_ADDR", "")
	var out strings.Builder
	if err := run(context.Background(), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	steps := []string{
		`agent +node1, Consul 1\.21\.4`, `register +web-1`, `register +web-3`, `watch +3 healthy web-1 web-2 web-3`, `pick +web-\d at 127\.0\.0\.1:808\d`,
		`heartbeat +web-\d is well`, `fail +web-2: disk full`, `pick +web-[13] at`, `deregister +web-`, `deregister +web-`, `deregister +web-`,
	}
	rest := out.String()
	for _, step := range steps {
		at := regexp.MustCompile(step).FindStringIndex(rest)
		if at == nil {
			t.Fatalf("no %q in order in\n%s", step, &out)
		}
		rest = rest[at[1]:]
	}
	if !regexp.MustCompile(`watch +2 healthy web-1 web-3\n(.*\n)*.*watch +0 healthy`).MatchString(out.String()) {
		t.Errorf("the watch did not see web-2 leave and then all of them:\n%s", &out)
	}
}
