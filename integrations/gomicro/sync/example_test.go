package sync_test

import (
	"context"
	"fmt"

	"github.com/lictor-go/consul/consulmock"
	consulsync "github.com/lictor-go/consul/integrations/gomicro/sync"
)

func Example() {
	agent := consulmock.NewServer() // stands for the local agent
	defer agent.Close()
	migrate := func(ctx context.Context) { fmt.Println("migrating:", ctx.Err() == nil) }

	s := consulsync.NewSync(consulsync.Client(agent.Client()))
	defer consulsync.Close(s)
	if err := s.Lock("migration"); err != nil {
		fmt.Println(err)
		return
	}
	defer s.Unlock("migration")
	if lease, ok := consulsync.Lease(s, "migration"); ok {
		migrate(lease.Context())
	}
	// Output: migrating: true
}
