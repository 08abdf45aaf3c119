// Package weighted is a load balancing policy for gRPC that sends calls to the
// instances of a service in proportion to their weights in Consul.
//
// Import it for its side effect, which is to register the policy under [Name], and
// choose it by [grpcresolver.Options.Policy], by the parameter lb of a target, or
// by a service config:
//
//	grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"consul_weighted":{}}]}`)
package weighted

import (
	"math/rand/v2"
	"sort"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/endpointsharding"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/connectivity"

	"github.com/lictor-go/consul/integrations/grpcresolver"
)

// Name is the name of the policy.
const Name = "consul_weighted"

func init() { balancer.Register(builder{}) }

type builder struct{}

func (builder) Name() string { return Name }

func (builder) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	child := balancer.Get(pickfirst.Name).Build
	return policy{endpointsharding.NewBalancer(clientConn{cc}, opts, child, endpointsharding.Options{})}
}

// policy keeps a connection to every endpoint, as round_robin does.
type policy struct{ balancer.Balancer }

// UpdateClientConnState passes on new endpoints, and that the health service of
// the instances is to be watched if the service config reports it.
func (p policy) UpdateClientConnState(s balancer.ClientConnState) error {
	s.ResolverState = pickfirst.EnableHealthListener(s.ResolverState)
	return p.Balancer.UpdateClientConnState(s)
}

// clientConn replaces the picker, which picks one endpoint after the other, by a
// weighted one.
type clientConn struct{ balancer.ClientConn }

func (c clientConn) UpdateState(s balancer.State) {
	if s.ConnectivityState == connectivity.Ready {
		if p := newPicker(endpointsharding.ChildStatesFromPicker(s.Picker)); len(p.children) > 0 {
			s.Picker = p
		}
	}
	c.ClientConn.UpdateState(s)
}

// picker picks a child with a probability in proportion to its weight.
type picker struct {
	children []balancer.Picker
	sums     []int // of the weights of the children up to this one
}

// newPicker returns a picker for the children that are ready. Those with the
// weight 0 are used only if there are no others. An endpoint that did not come
// from Consul has the weight 1.
func newPicker(states []endpointsharding.ChildState) *picker {
	weigh := func(s endpointsharding.ChildState) int {
		if i, ok := grpcresolver.FromEndpoint(s.Endpoint); ok {
			return max(i.Weight, 0)
		}
		return 1
	}
	p := readyChildren(states, weigh)
	if len(p.children) == 0 {
		p = readyChildren(states, func(endpointsharding.ChildState) int { return 1 })
	}
	return p
}

func readyChildren(states []endpointsharding.ChildState, weigh func(endpointsharding.ChildState) int) *picker {
	p, sum := &picker{}, 0
	for _, s := range states {
		w := weigh(s)
		if s.State.ConnectivityState != connectivity.Ready || w == 0 {
			continue
		}
		sum += w
		p.children = append(p.children, s.State.Picker)
		p.sums = append(p.sums, sum)
	}
	return p
}

// Pick implements [balancer.Picker].
func (p *picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	n := rand.IntN(p.sums[len(p.sums)-1])
	return p.children[sort.SearchInts(p.sums, n+1)].Pick(info)
}
