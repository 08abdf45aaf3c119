package grpcresolver

import (
	"reflect"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/resolver"

	"github.com/lictor-go/consul/discovery"
)

// FromEndpoint returns the instance behind an endpoint that this package has
// resolved: its ID, node, datacenter, tags, metadata, status, and its weight for
// that status. Balancers find the endpoint in their ClientConnState, or in the
// ChildState of grpc's package endpointsharding. It reports false for endpoints
// of other resolvers.
//
// The attributes are those of the endpoint and not of its addresses, of whose
// identity they would be part: a weight that changes does not close a connection.
func FromEndpoint(e resolver.Endpoint) (discovery.Instance, bool) {
	i, ok := e.Attributes.Value(attributeKey{}).(instance)
	return i.Instance, ok
}

type attributeKey struct{}

// instance is an attribute.
type instance struct{ discovery.Instance }

// Equal makes attributes comparable, which gRPC requires.
func (i instance) Equal(other any) bool {
	o, ok := other.(instance)
	return ok && reflect.DeepEqual(i.Instance, o.Instance)
}

// String keeps gRPC's logs short.
func (i instance) String() string { return i.Node + "/" + i.ID }

// endpoint is an address and what is behind it.
type endpoint struct {
	addr     string
	instance instance
}

func (e endpoint) equal(o endpoint) bool { return e.addr == o.addr && e.instance.Equal(o.instance) }

func (e endpoint) attributes() *attributes.Attributes {
	return attributes.New(attributeKey{}, e.instance)
}

// address is the default of Options.Address.
func address(i discovery.Instance) string {
	switch {
	case i.SocketPath != "":
		return "unix:" + i.SocketPath
	case i.Port > 0:
		return i.HostPort()
	}
	return ""
}
