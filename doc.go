// Package consul is a client of the Consul HTTP API without dependencies: the
// local agent, the health endpoints, the catalog and the status of the cluster.
// Every method makes exactly one HTTP request and hides nothing about it.
//
// A program registers itself with the local agent, reports that it is well, and
// finds the healthy instances of another service:
//
//	client, err := consul.NewClient(consul.Config{})
//	...
//	err = client.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{
//		Name:  "web",
//		Port:  8080,
//		Check: &consul.AgentServiceCheck{TTL: 15 * time.Second},
//	})
//	...
//	err = client.Agent().PassTTL(ctx, "service:web", "")
//	...
//	entries, meta, err := client.Health().Service(ctx, "db", &consul.QueryOptions{PassingOnly: true})
//
// Most programs want more than single requests: to stay registered when the agent
// restarts, and to be told of changes. That is in package discovery.
//
// # Clients
//
// One [Client] is enough for a program; it may be used by many goroutines. The
// zero [Config] connects to 127.0.0.1:8500. [ConfigFromEnv] reads
// CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN and the other variables of Consul's own
// tools; nothing else reads the environment, except that the built-in transport
// takes a proxy from it. [Client.WithToken] and its like return copies for another
// token, datacenter, namespace or partition, which share the connections.
//
// Files with a token or certificates are read again when they change; see
// [Config.TokenFile] and [TLSConfig].
//
// Redirects are followed within the host and scheme of the address only, since the
// token goes where a redirect leads. One to another host or scheme is an error, and
// so is one that changes the method or cleans up a path, because it would be
// another request.
//
// The methods are in groups:
//
//   - [Client.Agent] manages the services and checks of the local agent. This is
//     where a program registers itself. The agent tells the servers.
//   - [Client.Health] finds services, nodes and checks wherever they are, with
//     their health. This is where a program finds others.
//   - [Client.Catalog] reads the same without health, and can register what
//     has no agent.
//   - [Client.Status] describes the servers.
//   - [Client.KV], [Client.Session], [Client.Txn] and [Client.Event] are for keys,
//     the sessions that hold keys as locks, transactions and user events.
//   - [Client.Raw] is for every endpoint that has no method of its own, such as
//     those of access control.
//
// Reads of Health and Catalog take [QueryOptions], of which nil is fine, and return
// [QueryMeta]; an unknown name has an empty result. At the agent an unknown ID is an
// error. The check of a service is called "service:" and the service's ID if it is
// the only one and has no CheckID.
//
// # Contexts and deadlines
//
// The context bounds the time that a method takes. There are two other bounds. The
// built-in transport takes at most 10 s to connect, and 10 s for the handshake of
// TLS. A blocking query has a deadline of its own, so that an agent that has
// stopped responding is an error and not a call that never returns. While the
// servers have no leader, an agent may hang for up to a minute: give the context
// a deadline. Nothing is retried, except for what package net/http does by itself
// when the agent has closed an idle connection.
//
// # Blocking queries
//
// A read with [QueryOptions.WaitIndex] ends when its result may have
// changed, or when [QueryOptions.WaitTime] is over. The next one waits on
// [QueryMeta.LastIndex], or on 0 if the index went down. A response may be the same
// as before, which [QueryOptions.Previous] makes cheap, and errors want a growing
// pause. The example of [QueryMeta] is such a loop. Package discovery has one that
// minds all of that.
//
// # Results
//
// What a method returns is the caller's own, with two exceptions. The elements of a
// list can share lists of strings and raw JSON that are equal, such as their tags:
// to change those of one element, give it another slice. And what came with, or
// from, a [Result] that is passed on in [QueryOptions.Previous] must not be changed.
//
// # Errors
//
// A response with another status than success is a [*StatusError], which has the
// agent's address, the code and the agent's message. What callers branch on are
// conditions, which mean the same whatever the version of the agent:
//
//	err := client.Agent().PassTTL(ctx, "service:web", "")
//	if errors.Is(err, consul.ErrUnknownCheck) {
//		// The agent has lost the service: register again.
//	}
//
// They are [ErrNotFound], [ErrUnknownService], [ErrUnknownCheck],
// [ErrPermissionDenied], [ErrNoLeader], [ErrRateLimited] and
// [ErrResponseTooLarge]. An end of the context is context.Canceled or
// context.DeadlineExceeded. What is left are failures of the network, in the words
// of package net/http. Every error of a request names the agent. No error, and
// nothing that is printed, has a token or another credential in it.
package consul
