// Package discovery is for everything that lives longer than a request: staying
// registered, watching, resolving and balancing.
//
// A program stays registered from [Register] until Close:
//
//	reg, err := discovery.Register(ctx, client, &consul.AgentServiceRegistration{
//		ID:   "web-8080", // of this instance
//		Name: "web",
//		Port: 8080,
//	}, nil)
//	...
//	defer reg.Close()
//
// It finds the instances of other services with a [Resolver], which watches each
// service that is requested, and keeps its instances in memory:
//
//	resolver := discovery.NewResolver(client, nil)
//	defer resolver.Close()
//	instance, err := resolver.Pick(ctx, "db")
//	...
//	httpClient := &http.Client{Transport: discovery.NewTransport(resolver, nil), Timeout: 10 * time.Second}
//	resp, err := httpClient.Get("http://api/status")
//
// And it can follow everything that a blocking query can wait for:
//
//	for nodes, err := range discovery.Watch(ctx, client.Catalog().Nodes, nil) {
//		...
//	}
//
// # Staying registered
//
// [Register] adds a TTL check to a service without a check, sends its heartbeats, and
// registers the service again when the agent has lost it. The program reports its
// status with [Registration.SetStatus] or [RegisterOptions.Health], and changes the
// definition with [Registration.Update]. A server that shuts down sets its status to
// critical first, waits until its clients have seen that, and then calls
// [Registration.Close], which deregisters.
//
// # Finding instances
//
// There are five ways to get one instance, all built on a Resolver:
//
//   - [Resolver.Pick] returns the one that the [Balancer] picks.
//   - [Resolver.Acquire] also takes feedback: an instance that has failed is left
//     out for a while, and [LeastLoaded] knows the load of each.
//   - [Resolver.PickKey] returns the same instance for the same key.
//   - [NewTransport] does this for an [http.Client], with feedback, and tries
//     another instance when a connection fails.
//   - [Resolver.DialContext] does this for everything else that dials.
//
// [Resolver.Instances] and [Resolver.Watch] return all of them. Instances with a
// warning or critical check are left out, unless the [ResolverOptions] include
// them.
//
// [Watch] and [WatchService] are loops without a resolver. They yield the responses
// of the agent with all details, and hold a connection each, except over HTTP/2.
//
// # Logs and metrics
//
// Nothing is logged by default. All options have a Logger, and an OnEvent for
// metrics, which is given each [Event]. Above the debug level a log has one line when a
// service is registered and when it is deregistered, one warning when something begins
// to fail, and one line when it succeeds again. Watches and resolvers log nothing there
// while all is well, however many services they follow.
//
// # Connections
//
// Agents allow one client address 200 connections by default. Over https the client
// speaks HTTP/2, and some 250 queries share a connection: a resolver may follow
// thousands of services. Over HTTP/1 each query that waits for a change holds a
// connection. A resolver uses at most [ResolverOptions.MaxQueries] of them, however
// many services it follows, so that heartbeats get through. A watch uses one. A
// registration uses one for a moment at each heartbeat, and shares it with others of
// the same client. Use one client in a program, and one resolver for each set of
// [ResolverOptions].
//
// # When the agent is away
//
// Nothing here ends because the agent does not respond. A registration tries
// again until the agent knows it, a watch yields the error and goes on, a
// resolver keeps the last response. Pauses grow and are random, so that a thousand
// programs do not all send a query at the moment at which an agent is back.
package discovery
