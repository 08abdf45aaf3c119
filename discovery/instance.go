package discovery

import (
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/lictor-go/consul"
)

// Instance is an instance of a service. The maps and slices in it are shared:
// they must not be changed.
type Instance struct {
	ID      string // unique on its node only
	Service string // the service's name
	Node    string // the node's name

	// Address is the instance's, or the node's if it has none of its own.
	Address    string
	Port       int    // 0 if it has none
	SocketPath string // of a unix socket, instead of Address and Port; usually empty

	Tags   []string
	Meta   map[string]string
	Status consul.HealthStatus // of all its checks and those of its node

	// Weight is the weight that Consul has for the status of the instance, passing
	// or warning. It is 1 if the instance has no weights, and 0 if it is critical or
	// in maintenance.
	Weight int

	Datacenter      string
	NodeAddress     string
	NodeMeta        map[string]string
	TaggedAddresses map[string]consul.ServiceAddress
	Namespace       string // Consul Enterprise only
	Partition       string // Consul Enterprise only

	entry *consul.ServiceEntry // that it is made of, in a resolver
	stats *stats               // shared by all copies of the instance in a resolver; nil outside
}

// HostPort returns the address for [net.Dial]: host:port, with an IPv6 address
// in brackets. The host is the node's when the service has no address. Without a
// port it ends in :0, to which nothing can connect.
func (i Instance) HostPort() string {
	host := i.Address
	if host == "" {
		host = i.NodeAddress
	}
	return net.JoinHostPort(host, strconv.Itoa(i.Port))
}

// Load returns how many uses of the instance are under way in its resolver: those
// that began with [Resolver.Acquire], and requests of [NewTransport]. It is always
// current, also of an Instance that was returned long ago, unless the instance was
// removed meanwhile, while it was not in use.
func (i Instance) Load() int { return i.loaded() }

// loaded is Load without a copy of the instance.
func (i *Instance) loaded() int {
	if i.stats == nil {
		return 0
	}
	return int(i.stats.load.Load())
}

// instanceKey identifies an instance of a service: IDs are unique on a node.
type instanceKey struct{ datacenter, node, id string }

func (i *Instance) key() instanceKey { return instanceKey{i.Datacenter, i.Node, i.ID} }

// InstanceOf returns the instance that an entry of [consul.Health.Service]
// describes, as a [Resolver] would hold it. It is the zero Instance if e is nil.
func InstanceOf(e *consul.ServiceEntry) Instance {
	if e == nil {
		return Instance{}
	}
	return newInstance(e)
}

// newInstance returns the instance that the agent describes.
func newInstance(e *consul.ServiceEntry) Instance {
	i := Instance{Status: e.Checks.AggregatedStatus()}
	if n := e.Node; n != nil {
		i.Node, i.NodeAddress, i.NodeMeta, i.Datacenter = n.Node, n.Address, n.Meta, n.Datacenter
	}
	weights := consul.AgentWeights{}
	if s := e.Service; s != nil {
		i.ID, i.Service, i.Address, i.Port, i.SocketPath = s.ID, s.Service, s.Address, s.Port, s.SocketPath
		i.Tags, i.Meta, i.TaggedAddresses = s.Tags, s.Meta, s.TaggedAddresses
		i.Namespace, i.Partition = s.Namespace, s.Partition
		weights = s.Weights
	}
	if i.Address == "" {
		i.Address = i.NodeAddress
	}
	i.Weight = weightOf(i.Status, weights)
	return i
}

func weightOf(status consul.HealthStatus, w consul.AgentWeights) int {
	if w == (consul.AgentWeights{}) {
		w = consul.AgentWeights{Passing: 1, Warning: 1}
	}
	switch status {
	case consul.HealthPassing:
		return max(w.Passing, 0)
	case consul.HealthWarning:
		return max(w.Warning, 0)
	}
	return 0
}

// equalInstance reports whether nothing has changed from a to b.
func equalInstance(a, b *Instance) bool {
	return a.key() == b.key() && a.Service == b.Service &&
		a.Address == b.Address && a.Port == b.Port && a.SocketPath == b.SocketPath &&
		a.Status == b.Status && a.Weight == b.Weight && a.NodeAddress == b.NodeAddress &&
		a.Namespace == b.Namespace && a.Partition == b.Partition &&
		slices.Equal(a.Tags, b.Tags) && maps.Equal(a.Meta, b.Meta) &&
		maps.Equal(a.NodeMeta, b.NodeMeta) && maps.Equal(a.TaggedAddresses, b.TaggedAddresses)
}

// isSame reports whether two instances are made of the same entry.
func isSame(a, b *Instance) bool { return a.entry != nil && a.entry == b.entry }

// instancesChanged returns a function that reports whether the instances that
// entries describe differ from those of the call before. It keeps the list.
func instancesChanged() func([]*consul.ServiceEntry) bool {
	var last []*consul.ServiceEntry
	first := true
	return func(entries []*consul.ServiceEntry) bool {
		changed := first || len(entries) != len(last)
		for i := 0; i < len(entries) && !changed; i++ {
			if entries[i] != last[i] {
				was, is := newInstance(last[i]), newInstance(entries[i])
				changed = !equalInstance(&was, &is)
			}
		}
		first, last = false, entries
		return changed
	}
}

// nextInstances returns the instances that entries describe. Those that are made
// of the same entries in old are copied from there.
func nextInstances(old []Instance, entries []*consul.ServiceEntry) []Instance {
	list := make([]Instance, 0, len(entries))
	var index map[*consul.ServiceEntry]int // made if one that is there is not where it is expected
	for n, expected := 0, 0; n < len(entries); n++ {
		e, i := entries[n], expected
		if i >= len(old) || old[i].entry != e {
			replaced := i+1 < len(old) && n+1 < len(entries) && old[i+1].entry == entries[n+1]
			if i = -1; !replaced {
				if index == nil {
					index = make(map[*consul.ServiceEntry]int, len(old))
					for i := range old {
						index[old[i].entry] = i
					}
				}
				if known, ok := index[e]; ok {
					i = known
				}
			}
		}
		if i >= 0 {
			list = append(list, old[i])
			expected = i + 1
			continue
		}
		is := newInstance(e)
		is.entry = e
		list = append(list, is)
		expected++
	}
	return list
}

// difference counts what has changed from one list to another. Order does not
// count, but instances that changed places are no difference only to the counts.
func difference(from, to []*Instance) (added, removed, changed int) {
	old := make(map[instanceKey]*Instance, len(from))
	for _, i := range from {
		old[i.key()] = i
	}
	for _, i := range to {
		was, ok := old[i.key()]
		switch {
		case !ok:
			added++
		case !equalInstance(was, i):
			changed++
		}
		delete(old, i.key())
	}
	return added, len(old), changed
}

// unmatched returns the instances of two lists that are not made of the same entry
// in both, as far as they are where they are expected.
func unmatched(old, list []Instance) (from, to []*Instance) {
	start := 0
	for start < min(len(old), len(list)) && isSame(&old[start], &list[start]) {
		start++
	}
	endOld, end := len(old), len(list)
	for endOld > start && end > start && isSame(&old[endOld-1], &list[end-1]) {
		endOld, end = endOld-1, end-1
	}
	old, list = old[start:endOld], list[start:end]
	for i := range max(len(old), len(list)) {
		if len(old) == len(list) && isSame(&old[i], &list[i]) {
			continue
		}
		if i < len(old) {
			from = append(from, &old[i])
		}
		if i < len(list) {
			to = append(to, &list[i])
		}
	}
	return from, to
}

// hold returns the instances to be used after a response when there have to be at
// least atLeast of them: those of the response, and as many as needed of those
// that were used before and are not in it, in their order. held is the number of
// the latter.
func hold(used, response []Instance, atLeast int) (result []Instance, held int) {
	if len(response) >= atLeast {
		return response, 0
	}
	has := make(map[instanceKey]bool, len(response))
	for i := range response {
		has[response[i].key()] = true
	}
	result = slices.Clip(response)
	for i := range used {
		if len(result) >= atLeast {
			break
		}
		if !has[used[i].key()] {
			result = append(result, used[i])
			held++
		}
	}
	return result, held
}
