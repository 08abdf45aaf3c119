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
// # Contexts and deadlines
//
// The context is the only bound on the time that a method takes, with one
// exception: a blocking query has a deadline of its own, so that an agent that
// has stopped answering is an error and not a call that never returns.
//
// # Blocking queries
//
// A read with [QueryOptions.WaitIndex] is answered when its result may have
// changed, or when [QueryOptions.WaitTime] is over. The next one waits on
// [QueryMeta.LastIndex]:
//
//	q := &consul.QueryOptions{PassingOnly: true}
//	for {
//		entries, meta, err := client.Health().Service(ctx, "db", q)
//		...
//		if meta.LastIndex < q.WaitIndex {
//			meta.LastIndex = 0
//		}
//		q.WaitIndex = meta.LastIndex
//	}
//
// An index may go down, as above; an answer may be the same as before, which
// [QueryOptions.Known] makes cheap; and errors want a growing pause. Package
// discovery has a loop that minds all of that.
//
// # Errors
//
// An answer with another status than success is a [*StatusError]. What callers
// branch on are conditions for [errors.Is], such as [ErrNotFound], which mean the
// same whatever the version of the agent.
//
// # Everything else
//
// [Raw] reaches every endpoint that has no method of its own. What goes beyond a
// request (staying registered, watching, resolving) is in package discovery, and
// a fake agent for tests in package consulmock.
package consul
