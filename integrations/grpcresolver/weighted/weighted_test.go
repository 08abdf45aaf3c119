package weighted

import (
	"testing"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/endpointsharding"
	"google.golang.org/grpc/connectivity"
)

// named is a child that says who it is.
type named string

func (n named) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	return balancer.PickResult{}, pickedError(n)
}

type pickedError string

func (e pickedError) Error() string { return string(e) }

// TestPicker counts the picks among children of some weights and states. That the
// weights come from Consul is tested with calls, in the package of the resolver.
func TestPicker(t *testing.T) {
	child := func(name string, state connectivity.State) endpointsharding.ChildState {
		return endpointsharding.ChildState{State: balancer.State{ConnectivityState: state, Picker: named(name)}}
	}
	children := []endpointsharding.ChildState{
		child("three", connectivity.Ready), child("failing", connectivity.TransientFailure),
		child("none", connectivity.Ready), child("one", connectivity.Ready),
	}
	weights := map[string]int{"three": 3, "failing": 1000, "none": 0, "one": 1}
	p := readyChildren(children, func(s endpointsharding.ChildState) int { return weights[string(s.State.Picker.(named))] })
	picked := map[string]int{}
	const n = 10_000
	for range n {
		_, err := p.Pick(balancer.PickInfo{})
		picked[err.Error()]++
	}
	if len(picked) != 2 || picked["three"] < 7200 || picked["three"] > 7800 {
		t.Errorf("of %d picks: %v; want three quarters for three, the rest for one", n, picked)
	}
	none := func(endpointsharding.ChildState) int { return 0 }
	if p := readyChildren(children, none); len(p.children) != 0 {
		t.Errorf("without a weight: %d children", len(p.children))
	}
	if p := newPicker(children); len(p.children) != 3 || p.sums[2] != 3 {
		t.Errorf("endpoints of other resolvers: %d children, sums %v; want equal weights", len(p.children), p.sums)
	}
}

// TestForeignPicker keeps a picker that is not that of the endpoints: it has no
// children to be weighed.
func TestForeignPicker(t *testing.T) {
	cc := &channel{}
	clientConn{cc}.UpdateState(balancer.State{ConnectivityState: connectivity.Ready, Picker: named("other")})
	if _, err := cc.state.Picker.Pick(balancer.PickInfo{}); err != pickedError("other") {
		t.Errorf("picked with %v", err)
	}
}

// channel is the channel's side of a balancer.
type channel struct {
	balancer.ClientConn
	state balancer.State
}

func (c *channel) UpdateState(s balancer.State) { c.state = s }

func BenchmarkPick(b *testing.B) {
	var children []endpointsharding.ChildState
	for range 1000 {
		children = append(children, endpointsharding.ChildState{State: balancer.State{ConnectivityState: connectivity.Ready, Picker: named("x")}})
	}
	p := newPicker(children)
	b.ReportAllocs()
	for b.Loop() {
		p.Pick(balancer.PickInfo{})
	}
}
