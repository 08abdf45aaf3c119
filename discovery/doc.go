// Package discovery is for everything that lives longer than a request: staying
// registered, watching, resolving and balancing.
//
// A program stays registered from [Register] until Close:
//
//	reg, err := discovery.Register(ctx, client, &consul.AgentServiceRegistration{
//		Name:  "web",
//		Port:  8080,
//		Check: &consul.AgentServiceCheck{TTL: 15 * time.Second},
//	}, nil)
//	...
//	defer reg.Close()
//
// It finds the instances of other services by a [Resolver], which asks about each
// service once and answers from memory:
//
//	resolver := discovery.NewResolver(client, nil)
//	defer resolver.Close()
//	instance, err := resolver.Pick(ctx, "db")
//	...
//	httpClient := &http.Client{Transport: discovery.NewTransport(resolver, nil)}
//	resp, err := httpClient.Get("http://api/status")
//
// And it can follow any answer of the agent that can be waited on:
//
//	for nodes, err := range discovery.Watch(ctx, client.Catalog().Nodes, nil) {
//		...
//	}
//
// # Connections
//
// Agents allow one client address 200 connections by default, and each query
// that waits for a change holds one. A resolver uses at most
// [ResolverOptions.MaxQueries] of them, however many services it follows, so that
// heartbeats get through. A watch uses one. A registration uses one for a moment
// at each heartbeat, and shares it with others of the same client. Use one
// client, and one resolver for each kind of question, in a program.
//
// # When the agent is away
//
// Nothing here ends because the agent does not answer. A registration tries
// again until the agent knows it, a watch yields the error and goes on, a
// resolver keeps its last answer. Pauses grow and are random, so that a thousand
// programs do not ask an agent that comes back in the same moment.
package discovery
