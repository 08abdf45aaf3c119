package state

import "strings"

// The keys of indexes, which are also those of waiters for an index to move.
const (
	NodesTable       = "nodes"
	ServicesTable    = "services"
	ChecksTable      = "checks"
	SessionsTable    = "sessions"
	lastDeletion     = "service_last_extinction" // of the last instance of some service
	lastNodeDeletion = "node_last_extinction"
)

// StreamKey is the key of waiters for events of the streaming backend, about what
// another key stands for. Those of waiters for records are made by RecordWatch.
func StreamKey(of string) string { return "stream of " + of }

// ServiceKey is the key of a service.
func ServiceKey(name string) string { return "service." + strings.ToLower(name) }

// nodeKey is the key of a node with its services.
func nodeKey(name string) string { return "node." + strings.ToLower(name) }

// NodeRecordKey is the key of waiters for the record of a node that there is.
func NodeRecordKey(name string) string { return "node record " + strings.ToLower(name) }

// MeshKey is the key of a service of the mesh.
func MeshKey(name string) string { return "connect." + strings.ToLower(name) }

// SessionKey is the key of waiters for the end of a session.
func SessionKey(id string) string { return "session " + strings.ToLower(id) }

// LeaderKey is the key of waiters for the loss of the leader.
const LeaderKey = "leader"

// ACLKey is the key of waiters for changes of tokens.
const ACLKey = "acl"
