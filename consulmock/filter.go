package consulmock

import "errors"

// filterTarget says what kind of value a filter expression is about.
type filterTarget int

const (
	ofAgentService   filterTarget = iota // *agentServiceJSON, of agent/services
	ofAgentCheck                         // *checkJSON, of agent/checks
	ofServiceEntry                       // *serviceEntryJSON, of health/service and health/connect
	ofHealthCheck                        // *checkJSON, of the other health endpoints
	ofCatalogService                     // *catalogServiceJSON, of catalog/service and catalog/connect
	ofNodeService                        // *serviceJSON, of catalog/node and catalog/node-services
	ofServiceName                        // *serviceNameJSON, of catalog/services
	ofNode                               // *nodeJSON, of catalog/nodes
	ofMember                             // *memberJSON, of agent/members
)

// errFilterBreaksAgent is what a filter gives that ends the request's goroutine
// in a real agent. The connection is then closed without an answer.
var errFilterBreaksAgent = errors.New("the filter makes an agent close the connection without an answer")

// compileFilter returns the predicate that a filter expression is. The error is
// what an agent says of an expression that it does not understand.
func compileFilter(expression string, of filterTarget, v version) (func(v any) (bool, error), error) {
	return nil, errors.New("Failed to create boolean expression evaluator: filters are not understood")
}
