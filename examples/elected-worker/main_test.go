package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// TestRun runs three workers and ends the one that leads, until none is left: another one
// leads each time, and nothing that was counted is lost.
func TestRun(t *testing.T) {
	agent := consulmock.New(t)
	lines, write := io.Pipe()
	stop := map[string]context.CancelFunc{}
	ended := make(chan error)
	for _, name := range []string{"a", "b", "c"} {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		stop[name] = cancel
		w := &worker{name: name, key: "work", ttl: 10 * time.Second, every: 10 * time.Millisecond, out: write}
		go func() { ended <- w.run(ctx, consul.Config{Transport: agent.Transport()}) }()
	}
	go func() {
		for range stop {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		write.Close()
	}()
	var leaders []string
	done := 0
	for scanner := bufio.NewScanner(lines); scanner.Scan(); {
		_, said, _ := strings.Cut(scanner.Text(), "  ")
		name, said, _ := strings.Cut(said, "  ")
		if strings.HasPrefix(said, "leads, token") {
			leaders = append(leaders, name)
		}
		if n := 0; strings.HasPrefix(said, "has done") {
			fmt.Sscanf(said, "has done %d", &n)
			if n != done+1 || name != leaders[len(leaders)-1] {
				t.Errorf("%s has done %d after %d; %v have led", name, n, done, leaders)
			}
			done = n
			if n%10 == 0 {
				stop[name]()
			}
		}
	}
	if len(leaders) != 3 || leaders[0] == leaders[1] || leaders[1] == leaders[2] {
		t.Errorf("%v have led", leaders)
	}
	if sessions, _, err := agent.Client().Session().List(context.Background(), nil); err != nil || len(sessions) > 0 {
		t.Errorf("%d sessions are left, %v", len(sessions), err)
	}
}
