package consul_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// What the tests of the endpoints have in common. They use consulmock as other
// programs do.

var ctx = context.Background()

// onEveryVersion runs a test on an agent of every version.
func onEveryVersion(t *testing.T, test func(t *testing.T, agent *consulmock.Server, isOld bool)) {
	for _, version := range []string{"1.21.4", "1.8.7"} {
		t.Run(version, func(t *testing.T) {
			test(t, consulmock.New(t, consulmock.WithVersion(version)), version == "1.8.7")
		})
	}
}

// succeed fails the test if there is an error.
func succeed(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// wantError fails the test unless err is the condition, if there is one, and has
// all the words.
func wantError(t *testing.T, err, condition error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %v %q", condition, words)
	}
	if condition != nil && !errors.Is(err, condition) {
		t.Errorf("error %q is not %q", err, condition)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q lacks %q", err, word)
		}
	}
}

// wantStatus fails the test unless err is a StatusError with the code, and with the
// body if that is not empty.
func wantStatus(t *testing.T, err error, status **consul.StatusError, code int, body string) {
	t.Helper()
	if !errors.As(err, status) || (*status).Code != code || body != "" && (*status).Body != body {
		t.Fatalf("got %v, want the status %d %s", err, code, body)
	}
}

// wantSent fails the test unless these requests were the only ones, each of them
// once.
func wantSent(t *testing.T, agent *consulmock.Server, requests ...string) {
	t.Helper()
	var sent []string
	for _, r := range agent.Requests() {
		sent = append(sent, r.Method+" "+r.Path)
	}
	if !slices.Equal(sent, requests) {
		t.Errorf("sent %q, want %q", sent, requests)
	}
}

// ids returns the IDs of instances, in their order.
func ids(entries []*consul.ServiceEntry) (list []string) {
	for _, e := range entries {
		list = append(list, e.Service.ID)
	}
	return list
}

// statuses returns the checks with their statuses, sorted.
func statuses[C *consul.HealthCheck](checks []C) (list []string) {
	for _, c := range checks {
		c := (*consul.HealthCheck)(c)
		list = append(list, fmt.Sprint(c.CheckID, " ", c.Status))
	}
	slices.Sort(list)
	return list
}

// keys returns the keys of a map, sorted.
func keys[V any](m map[string]V) (list []string) {
	for key := range m {
		list = append(list, key)
	}
	slices.Sort(list)
	return list
}

// web returns a registration of an instance with a TTL check.
func web(id string) *consul.AgentServiceRegistration {
	return &consul.AgentServiceRegistration{
		ID: id, Name: "web", Port: 8080,
		Check: &consul.AgentServiceCheck{TTL: time.Minute, Status: consul.HealthPassing},
	}
}
