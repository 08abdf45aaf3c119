package interop

import (
	"cmp"
	"context"
	"fmt"
	"net"
	nethttp "net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	frame "github.com/go-kratos/kratos/v2"
	"github.com/go-kratos/kratos/v2/transport/grpc"
	"github.com/go-kratos/kratos/v2/transport/http"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/conformance/agent"
)

// The variables that make the test program a server.
const (
	envAdapter = "INTEROP_ADAPTER"
	envAgent   = "INTEROP_AGENT"
	envName    = "INTEROP_NAME"
	envID      = "INTEROP_ID"

	envKill = "INTEROP_KILL"
)

// runServer runs a kratos app if this process is to be a server.
func runServer() bool {
	open := adapters[os.Getenv(envAdapter)]
	if open == nil {
		return false
	}
	listen := func(scheme string) (net.Listener, *url.URL) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		return l, &url.URL{Scheme: scheme, Host: l.Addr().String()}
	}
	l, endpoint := listen("http")
	web := http.NewServer(http.Listener(l), http.Endpoint(endpoint))
	web.HandleFunc("/id", func(w nethttp.ResponseWriter, _ *nethttp.Request) { fmt.Fprintf(w, "%q", os.Getenv(envID)) })
	l, endpoint = listen("grpc")
	calls := grpc.NewServer(grpc.Listener(l), grpc.Endpoint(endpoint))
	r, err := open(&nethttp.Transport{}, os.Getenv(envAgent), options{})
	if err != nil {
		panic(err)
	}
	if err := frame.New(frame.ID(os.Getenv(envID)), frame.Name(os.Getenv(envName)), frame.Registrar(r), frame.Server(web, calls)).Run(); err != nil {
		panic(err)
	}
	return true
}

// TestKill kills one of two instances of a service (as with kill -9) while clients
// call it every 20 ms, several times, and prints how long calls failed. All options
// are the defaults, which are the same for both adapters: the agent connects to the
// endpoints every 10 s.
func TestKill(t *testing.T) {
	if os.Getenv(envKill) == "" {
		t.Skip("takes 40 s: set " + envKill + "=1")
	}
	address := "http://" + agent.Start(t, agent.Options{}).Addr
	const runs = 7
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		results = map[string][]outage{}
	)
	for name := range adapters {
		for n := range runs {
			wg.Add(1)
			go func() {
				defer wg.Done()
				web, calls := kill(t, name, address, fmt.Sprintf("%s-%d", name, n), time.Duration(n)*1500*time.Millisecond)
				mu.Lock()
				defer mu.Unlock()
				results[name+" HTTP"] = append(results[name+" HTTP"], web)
				results[name+" gRPC"] = append(results[name+" gRPC"], calls)
			}()
		}
	}
	wg.Wait()
	var table strings.Builder
	fmt.Fprintf(&table, "%-11s  %s\n", "", "last failed call after   of that, after the      failed calls")
	fmt.Fprintf(&table, "%-11s  %s\n", "", "the kill: median, max    agent noticed: max      of all: median")
	for _, name := range []string{"ours HTTP", "theirs HTTP", "ours gRPC", "theirs gRPC"} {
		list := results[name]
		if len(list) != runs {
			t.Fatalf("%s: %d results", name, len(list))
		}
		slices.SortFunc(list, func(a, b outage) int { return cmp.Compare(a.last, b.last) })
		median, longest, lag := list[runs/2], list[runs-1], time.Duration(0)
		for _, o := range list {
			lag = max(lag, o.lag)
		}
		fmt.Fprintf(&table, "%-11s  %6.2f s  %6.2f s     %6.2f s               %4d of %d\n",
			name, median.last.Seconds(), longest.last.Seconds(), lag.Seconds(), median.failed, median.calls)
	}
	t.Logf("%d kills each\n%s", runs, table.String())
}

// outage is what happened to calls after the kill.
type outage struct {
	last          time.Duration // the last failed one
	lag           time.Duration // of it, after the agent had noticed
	failed, calls int
}

func kill(t *testing.T, name, address, service string, after time.Duration) (web, calls outage) {
	servers := make([]*exec.Cmd, 2)
	for n := range servers {
		servers[n] = exec.Command(os.Args[0])
		servers[n].Env = append(os.Environ(), envAdapter+"="+name, envAgent+"="+address, envName+"="+service, fmt.Sprintf("%s=%s-%d", envID, service, n))
		if err := servers[n].Start(); err != nil {
			t.Error(err)
			return
		}
		defer func() {
			servers[n].Process.Kill()
			servers[n].Wait()
		}()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	look, err := consul.NewClient(consul.Config{Address: address})
	if err != nil {
		t.Error(err)
		return
	}
	defer look.CloseIdleConnections()
	r, err := adapters[name](&nethttp.Transport{}, address, options{})
	if err != nil {
		t.Error(err)
		return
	}
	for {
		list, _ := r.GetService(ctx, service)
		if len(list) == len(servers) {
			break
		}
		if ctx.Err() != nil {
			t.Errorf("%s has no two instances", service)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	client, err := http.NewClient(ctx, http.WithEndpoint("discovery:///"+service), http.WithDiscovery(r), http.WithBlock(), http.WithTimeout(time.Second))
	if err != nil {
		t.Error(err)
		return
	}
	defer client.Close()
	conn, err := grpc.DialInsecure(ctx, grpc.WithEndpoint("discovery:///"+service), grpc.WithDiscovery(r), grpc.WithTimeout(time.Second))
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	health := grpc_health_v1.NewHealthClient(conn)
	callers := []func() error{
		func() error { var id string; return client.Invoke(ctx, "GET", "/id", nil, &id) },
		func() error { _, err := health.Check(ctx, &grpc_health_v1.HealthCheckRequest{}); return err },
	}
	for _, call := range callers { // connections to both instances
		for range 20 {
			if err := call(); err != nil {
				t.Error("before the kill: ", err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	time.Sleep(after)
	outages := make([]outage, len(callers))
	var wg sync.WaitGroup
	var noticed time.Duration
	killed := time.Now()
	servers[0].Process.Kill()
	wg.Add(1)
	go func() {
		defer wg.Done()
		for time.Since(killed) < 25*time.Second {
			entries, _, err := look.Health().Service(ctx, service, &consul.QueryOptions{PassingOnly: true})
			if err == nil && len(entries) < len(servers) {
				noticed = time.Since(killed)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	for n, call := range callers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for time.Since(killed) < 25*time.Second {
				outages[n].calls++
				if err := call(); err != nil {
					outages[n].failed++
					outages[n].last = time.Since(killed)
				}
				time.Sleep(20 * time.Millisecond)
			}
		}()
	}
	wg.Wait()
	for n := range outages {
		outages[n].lag = max(0, outages[n].last-noticed)
	}
	return outages[0], outages[1]
}
