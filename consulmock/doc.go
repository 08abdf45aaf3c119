// Package consulmock is a fake Consul agent, in the spirit of
// net/http/httptest. It keeps the state that an agent keeps, so that code under
// test registers, updates, waits and finds as it does in production:
//
//	func TestDrain(t *testing.T) {
//		agent := consulmock.New(t)
//		agent.AddService(&consul.AgentServiceRegistration{
//			Name:  "web",
//			Port:  8080,
//			Check: &consul.AgentServiceCheck{TTL: time.Minute, Status: consul.HealthPassing},
//		})
//		agent.SetCheckStatus("service:web", consul.HealthCritical, "draining")
//		entries, _, err := agent.Client().Health().Service(ctx, "web", nil)
//		...
//	}
//
// It responds as Consul 1.21.4 does, or as 1.8.7 with [WithVersion]. Its responses
// are compared with more than 14,000 recorded ones of real agents of both versions:
// status, headers and body, and what wakes a blocking query.
//
// # Given, when, then
//
// [Server.AddService], [Server.AddCheck], [Server.AddNode] and
// [Server.SetCheckStatus] set up the agent's state before a test, or change it
// during one, and so does [Server.SetKey] for the key-value store;
// [Server.RemoveService], [Server.RemoveNode] and [Server.RemoveKey] remove things, and
// [Server.InvalidateSession] ends a session.
// They are in effect when they return, wake the queries that wait, and panic if an
// agent would refuse. To see what the code under test has done, query the agent with
// [Server.Client], or look at [Server.Requests]. When a test fails, New logs
// [Server.Dump].
//
// # Reaching it
//
// [Server.Client] and [Server.Transport] reach the server over connections in
// memory: nothing listens on a socket until [Server.URL] is called, which is for
// other clients, other languages and whole programs. [Server.Handler] is for
// servers of the caller's.
//
// # Time
//
// The fake uses package time and nothing else: TTLs expire, waits end and
// critical services go when they do with an agent. In a bubble of
// testing/synctest an hour of that takes milliseconds, and every moment is exact:
//
//	synctest.Test(t, func(t *testing.T) {
//		agent := consulmock.New(t)
//		...
//		time.Sleep(time.Minute)
//		synctest.Wait()
//		// A check with a TTL of a minute is critical now.
//	})
//
// The server must be made in the bubble, and reached through its Transport or
// Client: a goroutine that waits on a socket stops the clock of a bubble.
//
// These are the agent's times. A TTL check expires its TTL after the last update.
// DeregisterCriticalServiceAfter is at least a minute, and is looked at every 30
// seconds after the server was made. Blocking queries wait 5 minutes by default
// and 10 at most, and up to a sixteenth longer at random unless the streaming
// backend serves them. The agent corrects its part of the catalog every one to two
// minutes; a new output of a check that keeps its status is written to the
// catalog within some minutes; every other change at once, before the request
// that made it ends. An alias check that a request registers has its first
// result a millisecond later, and learns within a minute what it is not told of. A
// session ends twice its TTL after it was created or renewed. Waits for user events
// last 10 minutes by default, and not longer.
//
// # What it models
//
//   - The local agent: services with their checks, TTLs, aliases, maintenance,
//     sidecars of services of the mesh, local health, waiting on a hash.
//   - The catalog: the agent's node and nodes without an agent, the service consul
//     and the check serfHealth, one index for all and indexes for each table,
//     node and service. Blocking queries wait for what an agent waits for, also
//     where that is surprising.
//   - The streaming backend of 1.21.4, with its lower indexes and its
//     Knownleader header that is always false; see [WithStreaming].
//   - The parameters of reads: passing, tag, node-meta, filter, stale, consistent,
//     cached, near (which changes no order), dc, pretty.
//   - The key-value store, with its locks and lock-delays, and transactions. Deleted
//     keys are remembered for 15 minutes, as servers do: a wait on a prefix depends on
//     that, and can miss the deletion of a shorter prefix until its time is over.
//   - Sessions: they end with their TTL, their checks and their node, and have their
//     whole time again after an election ([Server.ElectLeader]) or a restart.
//   - User events: the last 256 of those that are for the agent.
//   - Access control, if tokens are given; see [Token]. Rules for service, node,
//     agent, key, session, event, operator and acl have an effect. Policies and
//     tokens can be made, and tokens deleted, through /v1/acl/policy and /v1/acl/token.
//   - What an agent reports of itself: self, host, metrics, members, version, and the
//     log through monitor. The machine is made up, and so are the numbers.
//   - How an agent refuses: unknown fields, wrong types, unclean paths, wrong
//     methods, in the agent's own words.
//   - Ends and starts, with and without a data directory; see [Server.Restart].
//
// HTTP, TCP and UDP checks are run at their interval only with
// [WithProbes]. Otherwise [Server.SetCheckStatus] decides. Other checks than those
// and TTL, alias and maintenance are never run.
//
// # Failures and recordings
//
// [Server.Inject] makes requests fail, hang, arrive late or get another response,
// and counts them. [Record] is a proxy that records the responses of a real agent,
// and [Replay] a server that responds from such a recording. The command
// cmd/consulmock serves all of it to programs in other languages, with a page of
// the state at /ui/, which is at [Server.URL] too.
//
// # What it does not model
//
// It is one agent, which is a server and its own leader from the first moment
// on, with one datacenter. There are no other agents to join and no gossip;
// [Server.AddMember] adds to the list of members only. [Server.ElectLeader] lets it lose
// its leader for three seconds. Inject a [Fault] to simulate other failures.
//
// Prepared queries, coordinates, snapshots, the operator's endpoints except for the
// peers of raft, configuration entries, intentions, peering, the certificates of the
// mesh, and the rest of the access control respond with 501 and a body that names the
// fake as the reason. Gateways, DNS, gRPC and TLS do not exist. Script and Docker
// checks are refused as agents do by default. agent/self has a fraction of an agent's
// debugging information, and the hashes of policies and tokens are empty.
//
// An agent allows a client 200 connections; the fake has no limit unless
// [WithMaxConnsPerClient] sets one. A request's body is read up to 64 MiB.
package consulmock
