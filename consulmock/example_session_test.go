package consulmock_test

import (
	"context"
	"fmt"
	"log"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// A worker loses its lock, as when it was cut off for longer than its session lives. For
// some time after that, the lock-delay, nobody else gets it.
func ExampleServer_InvalidateSession() {
	agent := consulmock.NewServer()
	defer agent.Close()
	ctx, client := context.Background(), agent.Client()

	acquire := func(worker string) (session string) {
		session, err := client.Session().Create(ctx, &consul.SessionEntry{Name: worker}, nil)
		if err != nil {
			log.Fatal(err)
		}
		ok, err := client.KV().Acquire(ctx, &consul.KVPair{Key: "leader", Value: []byte(worker), Session: session}, nil)
		fmt.Println(worker, "leads:", ok, err)
		return session
	}
	first := acquire("worker 1")
	agent.InvalidateSession(first)
	acquire("worker 2")
	pair, _, err := client.KV().Get(ctx, "leader", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("the last leader was %s, the present one has session %q\n", pair.Value, pair.Session)
	// Output:
	// worker 1 leads: true <nil>
	// worker 2 leads: false <nil>
	// the last leader was worker 1, the present one has session ""
}
