// Package interop shows what becomes of the bugs of mbobakov/grpc-consul-resolver,
// and that the resolver works with a current grpc-go. It has tests only, in a module
// of its own because of what they depend on.
package interop
