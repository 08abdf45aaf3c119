// Package register makes consul:// targets known to all gRPC channels of a
// program, with default options. Import it for its side effect:
//
//	import _ "github.com/lictor-go/consul/integrations/grpcresolver/register"
//
// A program that needs options, or that has another resolver for consul://, calls
// [grpcresolver.New] and grpc.WithResolvers instead.
package register

import (
	"google.golang.org/grpc/resolver"

	"github.com/lictor-go/consul/integrations/grpcresolver"
)

func init() { resolver.Register(grpcresolver.New(nil)) }
