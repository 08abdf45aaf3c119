package discovery_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// picks returns which of the instances with these weights a balancer picks in a
// thousand picks.
func picks(b discovery.Balancer, weights ...int) []int {
	instances := make([]discovery.Instance, len(weights))
	for i, w := range weights {
		instances[i].Weight = w
	}
	var picked []int
	for range 1000 {
		if i := b.Pick(instances); !slices.Contains(picked, i) {
			picked = append(picked, i)
		}
	}
	slices.Sort(picked)
	return picked
}

// Weights do not matter.
func ExampleRandom() {
	fmt.Println(picks(discovery.Random(), 1, 0, 1))
	// Output: [0 1 2]
}

// An instance with a weight of 0 is not picked while there is another one.
func ExampleWeightedRandom() {
	fmt.Println(picks(discovery.WeightedRandom(), 1, 0, 1))
	fmt.Println(picks(discovery.WeightedRandom(), 0, 0))
	// Output:
	// [0 2]
	// [0 1]
}

// One instance comes after the other, beginning anywhere.
func ExampleRoundRobin() {
	balancer := discovery.RoundRobin()
	var picked []int
	for range 6 {
		picked = append(picked, balancer.Pick(make([]discovery.Instance, 3)))
	}
	fmt.Println(slices.Equal(picked[:3], picked[3:]))
	slices.Sort(picked)
	fmt.Println(picked)
	// Output:
	// true
	// [0 0 1 1 2 2]
}

// An instance is picked when the others have more to do, in proportion to their
// weights. Acquire and NewTransport keep the count.
func ExampleLeastLoaded() {
	agent := consulmock.NewServer()
	defer agent.Close()
	for id, weight := range map[string]int{"small": 1, "large": 3} {
		agent.AddService(&consul.AgentServiceRegistration{
			Name: "web", ID: id, Weights: &consul.AgentWeights{Passing: weight, Warning: 1},
		})
	}
	resolver := discovery.NewResolver(agent.Client(), &discovery.ResolverOptions{Balancer: discovery.LeastLoaded})
	defer resolver.Close()

	for range 8 {
		_, done, err := resolver.Acquire(context.Background(), "web")
		if err != nil {
			fmt.Println(err)
			return
		}
		defer done(nil)
	}
	instances, err := resolver.Instances(context.Background(), "web")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, i := range instances {
		fmt.Println(i.ID, i.Load())
	}
	// Output:
	// large 6
	// small 2
}

// sameZone prefers instances of its own zone.
type sameZone struct {
	zone      string
	otherwise discovery.Balancer
}

// Pick implements [discovery.Balancer].
func (b sameZone) Pick(instances []discovery.Instance) int {
	i := slices.IndexFunc(instances, func(i discovery.Instance) bool { return i.Meta["zone"] == b.zone })
	if i < 0 {
		return b.otherwise.Pick(instances)
	}
	return i
}

// A balancer of one's own sees all there is to know about the instances.
func ExampleBalancer() {
	agent := consulmock.NewServer()
	defer agent.Close()
	for _, zone := range []string{"a", "b", "c"} {
		agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: "web-" + zone, Meta: map[string]string{"zone": zone}})
	}
	resolver := discovery.NewResolver(agent.Client(), &discovery.ResolverOptions{
		Balancer: func() discovery.Balancer { return sameZone{"b", discovery.RoundRobin()} },
	})
	defer resolver.Close()

	instance, err := resolver.Pick(context.Background(), "web")
	fmt.Println(instance.ID, err)
	// Output: web-b <nil>
}
