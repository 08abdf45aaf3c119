package state

import (
	"slices"
	"sort"
	"strings"

	"github.com/lictor-go/consul/consulmock/internal/release"
)

// This file tells whom a changed record wakes. Servers keep their records in radix
// trees, one for each index, and who waits for records watches a node of such a
// tree: that of the records found, or the last one on the way to those that are not
// there. So who waits is also woken when a neighbour comes or goes and the node is
// cut in two or joined with another one. Only the keys are kept here; the nodes
// follow from them.

// recordIndex holds the keys of the records of one index, in order.
type recordIndex struct {
	keys []string
}

// radixNode is a node of the tree.
type radixNode struct {
	path   string // from the root
	parent int    // the length of the path of its parent; 0 is the root
}

// node returns the node that is watched by who waits for the keys with a prefix.
func (x *recordIndex) node(prefix string) radixNode {
	i, _ := slices.BinarySearch(x.keys, prefix)
	match := 0
	for _, key := range x.keys[max(i-1, 0):min(i+1, len(x.keys))] {
		match = max(match, commonPrefix(key, prefix))
	}
	if match == 0 {
		return radixNode{}
	}
	first, end := x.withPrefix(prefix[:match])
	path := x.keys[first][:commonPrefix(x.keys[first], x.keys[end-1])]
	return radixNode{path, x.parent(path)}
}

// withPrefix returns where the keys with a prefix begin and end.
func (x *recordIndex) withPrefix(prefix string) (first, end int) {
	first, _ = slices.BinarySearch(x.keys, prefix)
	end = first + sort.Search(len(x.keys)-first, func(i int) bool { return !strings.HasPrefix(x.keys[first+i], prefix) })
	return first, end
}

// parent returns the length of the path of a node's parent: what the keys beside it
// have in common with it.
func (x *recordIndex) parent(path string) int {
	first, end := x.withPrefix(path)
	n := 0
	if first > 0 {
		n = max(n, commonPrefix(x.keys[first-1], path))
	}
	if end < len(x.keys) {
		n = max(n, commonPrefix(x.keys[end], path))
	}
	return n
}

func commonPrefix(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// recordChange is what happens to a key.
type recordChange int

const (
	recordPut recordChange = iota // inserted or written again
	recordDeleted
)

// change notes what happens to a key, and calls wake for each of the prefixes whose
// node is another one then.
func (x *recordIndex) change(key string, what recordChange, prefixes []string, wake func(prefix string)) {
	nodes := make([]radixNode, len(prefixes))
	for i, p := range prefixes {
		nodes[i] = x.node(p)
	}
	i, found := slices.BinarySearch(x.keys, key)
	switch {
	case what == recordPut && !found:
		x.keys = slices.Insert(x.keys, i, key)
	case what == recordDeleted && found:
		x.keys = slices.Delete(x.keys, i, i+1)
	}
	for i, n := range nodes {
		isOn := strings.HasPrefix(key, n.path)
		isCut := what == recordPut && !found && commonPrefix(key, n.path) > n.parent
		isJoined := what == recordDeleted && n.path != "" && x.parent(n.path) < n.parent
		if isOn || isCut || isJoined {
			wake(prefixes[i])
		}
	}
}

// The indexes of records. A key ends with the ID of its record, so that no two are
// the same.
const (
	NodesByName     = "nodes by name"
	nodesByMeta     = "nodes by metadata" // each pair of it
	ServicesByName  = "services by name"
	ServicesByNode  = "services by node"
	ServicesByMesh  = "services by name in the mesh"
	ChecksByService = "checks by service"
	ChecksByNode    = "checks by node"
	checksByState   = "checks by state"
	ChecksByOwner   = "checks by node, and whether they are of a service"
	ChecksByID      = "checks by node and service" // and only those of services
	sessionsByID    = "sessions by ID"
	SessionsByNode  = "sessions by node"
)

// recordKey joins the parts of a key in one of the indexes, without regard to case.
func recordKey(parts ...string) string {
	return strings.ToLower(strings.Join(parts, "\x00")) + "\x00"
}

// Flag says in a key whether a check is of a service.
func Flag(is bool) string {
	if is {
		return "1"
	}
	return "0"
}

// keys returns the keys of a node in each index that has it.
func (n *NodeRecord) keys() map[string]string {
	return map[string]string{NodesByName: recordKey(n.Node)}
}

// keys returns the keys of a service on a node in each index that has it.
func (s *ServiceRecord) keys(node string) map[string]string {
	keys := map[string]string{
		ServicesByName: recordKey(s.Name, node, s.ID),
		ServicesByNode: recordKey(node, s.ID),
	}
	if mesh := s.meshName(); mesh != "" {
		keys[ServicesByMesh] = recordKey(mesh, node, s.ID)
	}
	return keys
}

// keys returns the keys of a check in each index that has it.
func (c *CheckRecord) keys(v release.Version) map[string]string {
	keys := map[string]string{
		ChecksByNode:  recordKey(c.Node, c.CheckID),
		checksByState: stateKey(v, c.Status) + recordKey(c.Node, c.CheckID),
		ChecksByOwner: recordKey(c.Node, Flag(c.ServiceID != ""), c.CheckID),
	}
	if c.ServiceName != "" {
		keys[ChecksByService] = recordKey(c.ServiceName, c.Node, c.CheckID)
		keys[ChecksByID] = recordKey(c.Node, c.ServiceID, c.CheckID)
	}
	return keys
}

// stateKey is what the keys of checks in a state begin with. 1.8.7 tells states of another
// case apart.
func stateKey(v release.Version, status string) string {
	if v == release.V1_8_7 {
		return status + "\x00"
	}
	return recordKey(status)
}

// StateWatch returns the key of waiters for the checks in a state.
func (st *Store) StateWatch(status string) string {
	return checksByState + "\x00" + stateKey(st.Version, status)
}

// RecordWatch returns the key of waiters for the records of an index whose keys
// begin with some parts, or for all of them.
func RecordWatch(index string, parts ...string) string {
	if len(parts) == 0 {
		return index + "\x00"
	}
	return index + "\x00" + recordKey(parts...)
}

// treeRoot is what all keys begin with in the trees of the catalog of 1.21.4: the
// name of a peer, which is nobody's.
const treeRoot = "~\x00"

// treeRootOf returns what all keys of an index begin with.
func (st *Store) treeRootOf(index string) string {
	if st.Version == release.V1_8_7 || index == keysByName || index == sessionsByID || index == SessionsByNode {
		return ""
	}
	return treeRoot
}

// recordChanged wakes those who wait for a record, as it was or as it is. The keys
// are those before and after; nil stands for none.
func (st *Store) recordChanged(before, after map[string]string) {
	for index, key := range before {
		if after[index] != key {
			st.keyChanged(index, key, recordDeleted)
		}
	}
	for index, key := range after {
		st.keyChanged(index, key, recordPut)
	}
}

// metaChanged is recordChanged for the metadata of a node, each pair of which is in
// one index. Case counts in it.
func (st *Store) metaChanged(node string, before, after map[string]string) {
	key := func(k, v string) string { return k + "\x00" + v + "\x00" + recordKey(node) }
	for k, v := range before {
		if now, ok := after[k]; !ok || now != v {
			st.keyChanged(nodesByMeta, key(k, v), recordDeleted)
		}
	}
	for k, v := range after {
		st.keyChanged(nodesByMeta, key(k, v), recordPut)
	}
}

// MetaWatch returns the key of waiters for the nodes with a pair of metadata.
func MetaWatch(k, v string) string { return nodesByMeta + "\x00" + k + "\x00" + v + "\x00" }

func (st *Store) keyChanged(index, key string, what recordChange) {
	x := st.records[index]
	if x == nil {
		x = &recordIndex{}
		st.records[index] = x
	}
	root := st.treeRootOf(index)
	var prefixes []string
	for prefix := range st.recordWaiters[index] {
		if prefix != "" {
			prefix = root + prefix
		}
		prefixes = append(prefixes, prefix)
	}
	x.change(root+key, what, prefixes, func(prefix string) {
		st.Notify(index + "\x00" + strings.TrimPrefix(prefix, root))
	})
}
