// Package coordination has mutexes, semaphores and elections over the sessions and keys
// of Consul. A lock of this kind is a lease: nobody can promise that its holder notices
// the loss while it does not run. A process that is stopped for longer than its lease
// lasts, by a signal, a debugger, its virtual machine or the operating system, goes on
// with what it was about to do when it runs again; and an operator can delete or
// overwrite any key. For what must not go wrong even then, a lock is not enough: let the
// resource refuse requests with an old [Lease.Token], or, if it is in Consul itself, put
// [Lease.Guard] first in a transaction. For everything else there is
// [Lease.Context], which ends before others can have the lock, and [Lease.Valid].
//
// A mutex is locked and released:
//
//	mutex := coordination.NewMutex(client, "app/migration", nil)
//	lease, err := mutex.Lock(ctx)
//	if err != nil {
//		return err
//	}
//	defer lease.Release(ctx)
//	return migrate(lease.Context())
//
// A program that is to work on one of its instances only runs in an election:
//
//	election := coordination.NewElection(client, "app/leader", &coordination.ElectionOptions{Value: []byte(address)})
//	return election.Run(ctx, func(ctx context.Context, lease *coordination.Lease) error {
//		return work(ctx) // until ctx ends
//	})
//
// # What is promised
//
// T is the TTL of the session (15 s by default), D is T - Grace (12 s), and L is its
// LockDelay (15 s). Servers end a session 2T after its last renewal, and allow nobody to
// acquire what it held for L after its end. The tests named are in this package, or in
// conformance if they need a real agent.
//
//   - The context of a lease ends, and Valid is false, at the latest D after the last
//     renewal that succeeded was sent, whatever the network, the agent and the servers
//     do. The lock is free at 2T + L at the earliest. The clocks may run at different
//     speeds, by a factor of up to 2T / D. (TestSilentPartition, TestSilentResponses,
//     TestWallClock, TestSleptTooLong)
//   - When the session ends otherwise (it is destroyed, one of its checks turns
//     critical, its node is deregistered) the context ends within a round trip, or at
//     most D later. The lock is free after L, and L is not shorter than D, unless
//     AllowOverlap is set: there are no two leases at a time. Servers keep this delay
//     in memory, and may forget it when they restart. (TestLosses,
//     TestUnseenEndOfSession, TestSessionOptions, TestModel)
//   - When somebody deletes the key or writes to it, or the servers lose their data, the
//     context ends within a round trip, or at most D later. There is no lock-delay then:
//     until the holder notices, somebody else may have a lease too. (TestLosses,
//     TestOverwritten, TestRestartWithoutData, TestUnseenDeletion)
//   - An outage, of the agent or of the servers' leader, that is shorter than D - 2T/5
//     loses nothing, or shorter than D - 2T/3 if requests vanish without an error. After
//     a longer one the context has ended, although the servers may have kept the
//     session; then Lock and Run acquire the lock again without waiting for L, if the
//     session is shared or Run's. (TestShortOutage, TestLeaderKilled, TestLongOutage,
//     TestRunAfterOutage, TestQuorumLost)
//   - Tokens grow from lease to lease of a lock, also over deletions of its key.
//     (TestTokens, TestModel)
//   - A transaction that begins with Guard changes nothing unless the lease holds at
//     that moment; of a semaphore it does not see its list of holders, from which only
//     operators remove a holder that lives. (TestGuard, TestAcquiredAnew, TestModel,
//     TestStoppedProcess)
//   - Requests whose responses are lost do no harm: what they may have done is found,
//     used, or undone. (TestLostResponses, TestContextEndsDuringAcquisition,
//     TestLateAcquisition, TestLateRequest, TestLateRelease)
//   - Lock and Acquire return a lease or an error, and soon after the end of ctx. Nothing
//     stays held then; if requests fail for a second, until the session has ended.
//     (TestContextEndsDuringAcquisition, TestContextEndsWhileWaiting)
//   - Release and Close leave no session, no hold on a key, and no goroutine behind,
//     unless they return an error. (TestRelease, TestReleaseWhileSessionReleases,
//     TestContextEndsDuringRelease, TestClose, TestCloseRefused, TestPermissionLost)
//   - Locks exclude, and are excluded by, those of the official client and of the command
//     consul lock. (TestOfficialClient, TestConsulLock)
//
// Semaphores have no lock-delay: after the end of a session there may be a lease too
// many for as long as its holder does not notice, at most D. (TestSemaphoreLosses)
//
// It is not promised that those who wait get the lock in any order. When a lock is
// released they all try, at random within some milliseconds, and one gets it.
//
// For those who know Kubernetes: leaseDurationSeconds is 2T + L there, RenewDeadline is D
// and RetryPeriod T/3.
//
// # What it costs
//
// A session is renewed every T/3 by a request that writes nothing. A lease reads its key
// from the leader as often, and waits for changes with a blocking query. Who waits for a
// lock has one blocking query, and no session until the lock is free. To acquire a lock
// takes a transaction, to release it a read and a transaction, and a session of its own
// two writes more.
//
// Tokens need session:write for the node, and key:read and key:write for the key (for
// a semaphore, for its prefix). On Consul Enterprise locks are in the default namespace:
// their transactions name none.
package coordination
