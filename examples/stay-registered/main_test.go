package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// registeredLog is closed when the log says that the service is registered.
type registeredLog struct {
	once sync.Once
	seen chan struct{}
}

func (l *registeredLog) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("service registered")) {
		l.once.Do(func() { close(l.seen) })
	}
	return len(p), nil
}

func TestRun(t *testing.T) {
	agent := consulmock.New(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	log := &registeredLog{seen: make(chan struct{})}
	go func() {
		done <- run(ctx, consul.Config{Transport: agent.Transport()}, "web", "127.0.0.1:0", 0, log)
	}()
	// Others can see the service before the server knows that it is registered;
	// to be interrupted then is a failed start.
	select {
	case <-log.seen:
	case err := <-done:
		t.Fatalf("ended before it was registered: %v", err)
	}
	// It appears, it responds, and it is gone.
	resolver := discovery.NewResolver(agent.Client(), nil)
	defer resolver.Close()
	limited, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	appeared := false
	for instances, err := range resolver.Watch(limited, "web") {
		if err != nil {
			t.Fatal(err)
		}
		if appeared = appeared || len(instances) == 1; !appeared {
			continue
		}
		if len(instances) == 0 {
			break
		}
		resp, err := (&http.Client{Transport: discovery.NewTransport(resolver, &http.Transport{DisableKeepAlives: true})}).Get("http://web/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		cancel()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if services, err := agent.Client().Agent().Services(limited, nil); err != nil || len(services) != 0 {
		t.Errorf("left behind: %v, %v", services, err)
	}
}

// TestMain makes the test's binary the example itself if the variable is set.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_STAY_REGISTERED") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestSignals ends the example in the ways in which terminals, service managers
// and containers do.
func TestSignals(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" {
		t.Skip("processes cannot be sent these signals")
	}
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		agent := consulmock.New(t)
		log := &registeredLog{seen: make(chan struct{})}
		cmd := exec.Command(os.Args[0], "-drain", "0s")
		cmd.Env = []string{"RUN_STAY_REGISTERED=1", "CONSUL_HTTP_ADDR=" + agent.URL()}
		cmd.Stderr = log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		select {
		case <-log.seen:
		case err := <-done:
			t.Fatalf("ended before it was registered: %v", err)
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("%s: %v", signal, err)
		}
		if services, err := agent.Client().Agent().Services(context.Background(), nil); err != nil || len(services) != 0 {
			t.Errorf("%s: left behind: %v, %v", signal, services, err)
		}
	}
}
