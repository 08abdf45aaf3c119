// Package client runs the client against real agents: every method, every
// option, and what happens when things go wrong.
package client

import (
	"context"
	"errors"
	"net/http/httptrace"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/agenttest"
)

func TestMain(m *testing.M) { os.Exit(agenttest.Main(m)) }

// limit bounds every test's calls, far beyond what they take.
func limit(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError checks that err is target, and that its message says every part.
func wantError(t *testing.T, err, target error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if target != nil && !errors.Is(err, target) {
		t.Errorf("error %q is not %q", err, target)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

// wantStatus checks that err is an answer with the status code.
func wantStatus(t *testing.T, err error, code int) {
	t.Helper()
	var status *consul.StatusError
	if !errors.As(err, &status) || status.Code != code {
		t.Errorf("error %v; want status %d", err, code)
	}
}

func want[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

// eventually waits until ok is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(40 * time.Second)
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("not after 40 s: %s", what)
		}
	}
}

// onSent returns a context that closes the channel when a request that it is
// given to has been written to the connection.
func onSent(ctx context.Context) (context.Context, <-chan struct{}) {
	sent := make(chan struct{})
	var once sync.Once // package net/http may write it again
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { once.Do(func() { close(sent) }) },
	}), sent
}

// register registers a service and takes it away when the test ends.
func register(t *testing.T, c *consul.Client, r *consul.AgentServiceRegistration) {
	t.Helper()
	ctx := limit(t)
	check(t, c.Agent().ServiceRegister(ctx, r))
	id := r.ID
	if id == "" {
		id = r.Name
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := c.Agent().ServiceDeregister(ctx, id); err != nil && !errors.Is(err, consul.ErrUnknownService) {
			t.Error(err)
		}
	})
}

func ids(entries []*consul.ServiceEntry) []string {
	list := []string{}
	for _, e := range entries {
		list = append(list, e.Service.ID)
	}
	return list
}

// TestCoverage makes sure that the tests of this package call every method and
// set every option.
func TestCoverage(t *testing.T) {
	var source strings.Builder
	files, err := os.ReadDir(".")
	check(t, err)
	for _, f := range files {
		data, err := os.ReadFile(f.Name())
		check(t, err)
		source.Write(data)
	}
	for _, group := range []any{&consul.Client{}, &consul.Agent{}, &consul.Health{}, &consul.Catalog{}, &consul.Status{}, &consul.Raw{}} {
		typ := reflect.TypeOf(group)
		for i := range typ.NumMethod() {
			name := typ.Method(i).Name
			if name != "Format" && !strings.Contains(source.String(), "."+name+"(") && !strings.Contains(source.String(), "."+name+",") {
				t.Errorf("no test calls %s.%s", typ, name)
			}
		}
	}
	for _, options := range []any{consul.QueryOptions{}, consul.WriteOptions{}, consul.MembersOptions{}, consul.JoinOptions{}, consul.ForceLeaveOptions{},
		consul.Config{}, consul.TLSConfig{}, consul.AgentServiceRegistration{}, consul.AgentServiceCheck{}, consul.CatalogRegistration{}, consul.CatalogDeregistration{}} {
		typ := reflect.TypeOf(options)
		for i := range typ.NumField() {
			name := typ.Field(i).Name
			if !strings.Contains(source.String(), name+":") && !strings.Contains(source.String(), "."+name+" =") {
				t.Errorf("no test sets %s.%s", typ, name)
			}
		}
	}
}
