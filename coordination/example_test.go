package coordination_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/coordination"
)

// One program at a time migrates the database; the others wait.
func ExampleMutex_Lock() {
	ctx, client, migrate := setUp()

	mutex := coordination.NewMutex(client, "app/migration", nil)
	lease, err := mutex.Lock(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer lease.Release(ctx)
	migrate(lease.Context())

	// Output: migrated
}

// What is not urgent is left to whoever does it already.
func ExampleMutex_TryLock() {
	ctx, client, _ := setUp()
	mutex := coordination.NewMutex(client, "app/cleanup", &coordination.MutexOptions{Value: []byte("host-1")})
	lease, err := mutex.TryLock(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer lease.Release(ctx)

	_, err = mutex.TryLock(ctx)
	var held *coordination.HeldError
	switch {
	case errors.As(err, &held):
		fmt.Printf("%s is cleaning up\n", held.Value)
	case errors.Is(err, coordination.ErrDelayed):
		fmt.Println("whoever did it has failed a moment ago")
	}
	// Output: host-1 is cleaning up
}

// One instance leads, the others stand by.
func ExampleElection_Run() {
	ctx, client, work := setUp()

	election := coordination.NewElection(client, "app/leader", &coordination.ElectionOptions{Value: []byte("10.0.0.1:8080")})
	err := election.Run(ctx, func(ctx context.Context, lease *coordination.Lease) error {
		work(ctx) // until ctx ends, because the lease is lost or the program is to end
		return errors.New("done")
	})
	fmt.Println(err)
	// Output:
	// migrated
	// done
}

// Everybody can see who leads.
func ExampleElection_Observe() {
	ctx, client, _ := setUp()
	election := coordination.NewElection(client, "app/leader", &coordination.ElectionOptions{Value: []byte("10.0.0.1:8080")})
	lease, err := election.Campaign(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for leader, err := range election.Observe(ctx) {
		if err != nil {
			log.Print(err) // the sequence goes on
			continue
		}
		if leader.Session == "" {
			fmt.Println("nobody leads")
			break
		}
		fmt.Printf("%s leads\n", leader.Value)
		lease.Release(ctx)
	}
	// Output:
	// 10.0.0.1:8080 leads
	// nobody leads
}

// A write under the guard of a lease is refused when the lease is over, whether or not
// its holder has noticed.
func ExampleLease_Guard() {
	ctx, client, _ := setUp()
	lease, err := coordination.NewMutex(client, "app/lock", nil).Lock(ctx)
	if err != nil {
		log.Fatal(err)
	}
	save := func(state string) error {
		ops := append(lease.Guard(), consul.TxnOp{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: "app/state", Value: []byte(state)}})
		_, err := client.Txn().Apply(ctx, ops, nil)
		return err
	}
	fmt.Println(save("first"))
	lease.Release(ctx)
	fmt.Println(errors.Is(save("second"), consul.ErrStaleIndex))
	// Output:
	// <nil>
	// true
}

// At most two programs at a time use what cannot bear more.
func ExampleSemaphore_Acquire() {
	ctx, client, migrate := setUp()

	semaphore := coordination.NewSemaphore(client, "app/exports", 2, nil)
	lease, err := semaphore.Acquire(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer lease.Release(ctx)
	migrate(lease.Context())
	// Output: migrated
}

// A program with many locks renews one session for all of them.
func ExampleNewSession() {
	ctx, client, _ := setUp()

	session, err := coordination.NewSession(ctx, client, &coordination.SessionOptions{Name: "importer", TTL: 30 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close() // releases all of them
	for _, table := range []string{"orders", "customers"} {
		mutex := coordination.NewMutex(client, "app/import/"+table, &coordination.MutexOptions{Session: session})
		lease, err := mutex.Lock(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(table, lease.Valid())
	}
	// Output:
	// orders true
	// customers true
}

func setUp() (context.Context, *consul.Client, func(context.Context)) {
	return context.Background(), consulmock.NewServer().Client(), func(context.Context) { fmt.Println("migrated") }
}
