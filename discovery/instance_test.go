package discovery

import (
	"reflect"
	"testing"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/leaf"
)

func TestWeightOf(t *testing.T) {
	for _, test := range []struct {
		status consul.HealthStatus
		w      consul.AgentWeights
		want   int
	}{
		{consul.HealthPassing, consul.AgentWeights{Passing: 10, Warning: 2}, 10},
		{consul.HealthWarning, consul.AgentWeights{Passing: 10, Warning: 2}, 2},
		{consul.HealthWarning, consul.AgentWeights{Passing: 10}, 0},
		{consul.HealthCritical, consul.AgentWeights{Passing: 10, Warning: 2}, 0},
		{consul.HealthPassing, consul.AgentWeights{}, 1},
		{consul.HealthWarning, consul.AgentWeights{}, 1},
		{consul.HealthMaintenance, consul.AgentWeights{}, 0},
	} {
		if got := weightOf(test.status, test.w); got != test.want {
			t.Errorf("weightOf(%s, %v) = %d, want %d", test.status, test.w, got, test.want)
		}
	}
}

func TestNewInstance(t *testing.T) {
	node := &consul.Node{Node: "n1", Address: "10.0.0.1", Datacenter: "dc1"}
	for _, test := range []struct {
		name     string
		entry    consul.ServiceEntry
		hostport string
	}{
		{"own address", consul.ServiceEntry{Node: node, Service: &consul.AgentService{Address: "10.0.0.2", Port: 80}}, "10.0.0.2:80"},
		{"address of the node", consul.ServiceEntry{Node: node, Service: &consul.AgentService{Port: 80}}, "10.0.0.1:80"},
		{"IPv6", consul.ServiceEntry{Node: node, Service: &consul.AgentService{Address: "::1", Port: 80}}, "[::1]:80"},
		{"name", consul.ServiceEntry{Node: node, Service: &consul.AgentService{Address: "host", Port: 80}}, "host:80"},
		{"no port", consul.ServiceEntry{Node: node, Service: &consul.AgentService{}}, "10.0.0.1:0"},
		{"nothing", consul.ServiceEntry{}, ":0"},
	} {
		i := newInstance(&test.entry)
		if got := i.HostPort(); got != test.hostport {
			t.Errorf("%s: %q, want %q", test.name, got, test.hostport)
		}
	}
	if got := (Instance{NodeAddress: "10.0.0.1", Port: 1}).HostPort(); got != "10.0.0.1:1" {
		t.Errorf("HostPort of a literal: %q", got)
	}
}

func TestHold(t *testing.T) {
	list := func(ids string) (l []Instance) {
		for _, id := range ids {
			l = append(l, Instance{ID: string(id)})
		}
		return l
	}
	for _, test := range []struct {
		used, answer string
		atLeast      int
		want         string
		held         int
	}{
		{"abc", "a", 0, "a", 0}, // off
		{"abc", "", 0, "", 0},
		{"abc", "ab", 2, "ab", 0},
		{"abc", "c", 2, "ca", 1},
		{"abc", "", 2, "ab", 2},
		{"abc", "", 9, "abc", 3}, // all there were
		{"ab", "d", 2, "da", 1},
		{"", "a", 3, "a", 0}, // nothing to hold
		{"da", "de", 2, "de", 0},
	} {
		got, held := hold(list(test.used), list(test.answer), test.atLeast)
		ids := ""
		for _, i := range got {
			ids += i.ID
		}
		if ids != test.want || held != test.held {
			t.Errorf("hold(%q, %q, %d) = %q, %d; want %q, %d", test.used, test.answer, test.atLeast, ids, held, test.want, test.held)
		}
	}
}

func TestDifference(t *testing.T) {
	a, b, c := Instance{ID: "a"}, Instance{ID: "b"}, Instance{ID: "c"}
	b2 := b
	b2.Port = 1
	added, removed, changed := difference([]*Instance{&a, &b}, []*Instance{&b2, &c})
	if added != 1 || removed != 1 || changed != 1 {
		t.Errorf("difference: %d, %d, %d; want 1, 1, 1", added, removed, changed)
	}
}

// TestEqualInstance makes sure that no field is forgotten.
func TestEqualInstance(t *testing.T) {
	var base, same Instance
	leaf.Change(reflect.ValueOf(&base).Elem(), -1)
	leaf.Change(reflect.ValueOf(&same).Elem(), -1)
	if !equalInstance(&base, &same) {
		t.Error("two equal instances are not")
	}
	for k := 0; ; k++ {
		var other Instance
		path := leaf.Change(reflect.ValueOf(&other).Elem(), k)
		if path == "" {
			break
		}
		if equalInstance(&base, &other) {
			t.Errorf("equal although %s differs", path)
		}
	}
}
