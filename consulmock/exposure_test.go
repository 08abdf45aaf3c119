package consulmock

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Nothing listens before it is asked to, and then on the loopback interface only.
func TestLoopbackOnly(t *testing.T) {
	agent := New(t)
	if _, err := agent.Client().Status().Leader(context.Background()); err != nil {
		t.Fatal(err)
	}
	agent.mu.Lock()
	addr := agent.addr
	agent.mu.Unlock()
	if addr != "" {
		t.Errorf("the server listens at %s", addr)
	}
	recorder, err := Record(agent.URL(), filepath.Join(t.TempDir(), "x.har"))
	if err != nil {
		t.Fatal(err)
	}
	defer recorder.Close()
	for _, address := range []string{agent.URL(), recorder.URL()} {
		u, err := url.Parse(address)
		if err != nil || !net.ParseIP(u.Hostname()).IsLoopback() {
			t.Errorf("listens at %s, %v", address, err)
		}
	}
}

// What is logged by itself, and a recording, have no tokens.
func TestDumpHasNoTokens(t *testing.T) {
	const secret, inURL = "5ecre7-token", "facefeed-1111"
	agent := New(t, WithTokens(ManagementToken(secret), ManagementToken(inURL)))
	file := filepath.Join(t.TempDir(), "x.har")
	recorder, err := Record(agent.URL(), file)
	if err != nil {
		t.Fatal(err)
	}
	client := clientOf(t, recorder.URL())
	if _, err := client.WithToken(secret).Agent().Services(context.Background(), nil); err != nil {
		t.Error(err)
	}
	var services any
	if _, err := client.Raw().Query(context.Background(), "/v1/agent/services?token="+inURL, &services, nil); err != nil {
		t.Error(err)
	}
	if err := recorder.Close(); err != nil {
		t.Error(err)
	}
	recorded, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"dump": agent.Dump(), "recording": string(recorded)} {
		if !strings.Contains(text, "/v1/agent/services") {
			t.Errorf("the %s lacks the requests:\n%s", name, text)
		}
		for _, token := range []string{secret, inURL} {
			if strings.Contains(text, token) {
				t.Errorf("the %s has %s:\n%s", name, token, text)
			}
		}
	}
}
