package discovery

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
)

// Balancer picks one of the instances of a service.
type Balancer interface {
	// Pick returns the index of one of the instances, of which there is at least
	// one. If it returns another number, the call of the resolver returns an error.
	// Pick may be called concurrently. It must neither change nor keep the slice.
	Pick(instances []Instance) int
}

type balancerFunc func(instances []Instance) int

func (f balancerFunc) Pick(instances []Instance) int { return f(instances) }

// Random returns a balancer that picks each instance with the same probability,
// whatever its weight.
func Random() Balancer {
	return balancerFunc(func(instances []Instance) int { return rand.IntN(len(instances)) })
}

// RoundRobin returns a balancer that picks one instance after the other,
// whatever their weights, beginning anywhere.
func RoundRobin() Balancer {
	var next atomic.Uint64
	next.Store(uint64(rand.Uint32()))
	return balancerFunc(func(instances []Instance) int {
		return int(next.Add(1) % uint64(len(instances)))
	})
}

// WeightedRandom returns a balancer that picks each instance with a probability
// in proportion to its Weight. An instance with the weight 0 is picked only if all
// have it.
func WeightedRandom() Balancer {
	return balancerFunc(func(instances []Instance) int {
		total := 0.0 // the sum of the weights may be more than an int can hold
		for i := range instances {
			total += float64(max(instances[i].Weight, 0))
		}
		if total == 0 {
			return rand.IntN(len(instances))
		}
		n, last := rand.Float64()*total, 0
		for i := range instances {
			if w := instances[i].Weight; w > 0 {
				if n -= float64(w); n < 0 {
					return i
				}
				last = i
			}
		}
		return last // after rounding
	})
}

// LeastLoaded returns a balancer that picks the instance with the least load in
// proportion to its Weight, and one of them at random if there are several. The
// load is [Instance.Load], so it needs [Resolver.Acquire] instead of
// [Resolver.Pick]; [NewTransport] does that. An instance with the weight 0 is picked
// only if all have it.
func LeastLoaded() Balancer {
	return balancerFunc(func(instances []Instance) int {
		best, ties := 0, 0
		least := math.Inf(1)
		for i := range instances {
			load := math.Inf(1)
			if w := instances[i].Weight; w > 0 {
				load = float64(instances[i].loaded()+1) / float64(w)
			}
			switch {
			case load < least:
				best, least, ties = i, load, 1
			case load == least:
				if ties++; rand.IntN(ties) == 0 {
					best = i
				}
			}
		}
		return best
	})
}

// rendezvous picks the instance that scores highest for the key. Every process
// picks the same one for a key, and when an instance goes, only the keys that it
// had go to others. Instances get keys in proportion to their weights.
func rendezvous(key string, instances []Instance) int {
	best, highest := 0, math.Inf(-1)
	for i := range instances {
		// A uniform number u between 0 and 1 for each pair of key and instance,
		// turned so that the weights hold: -ln(u)/w is the time until something
		// happens that happens w times in a unit of time, and the earliest wins.
		u := (float64(mix(key, &instances[i])>>11) + 0.5) / (1 << 53)
		score := math.Log(u) / max(float64(instances[i].Weight), 1e-9)
		if score > highest {
			best, highest = i, score
		}
	}
	return best
}

// mix returns a hash of the key and an instance: FNV-1a, finished by splitmix64.
func mix(key string, i *Instance) uint64 {
	x := uint64(14695981039346656037)
	for _, s := range [...]string{key, i.Datacenter, i.Node, i.ID} {
		for n := range len(s) {
			x = (x ^ uint64(s[n])) * 1099511628211
		}
		x *= 1099511628211 // a zero byte, so that the parts cannot be shifted
	}
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
