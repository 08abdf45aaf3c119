package benchmarks

import (
	"compress/gzip"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lictor-go/consul"
)

func newRig(b *testing.B, body []byte) *Rig {
	b.Helper()
	s := httptest.NewServer(Answer{Index: 7, Body: body})
	b.Cleanup(s.Close)
	b.Cleanup(s.CloseClientConnections)
	r, err := NewRig(strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// run measures an operation by each of the three clients.
func run(b *testing.B, t Trio) {
	for _, who := range []struct {
		name string
		op   Op
	}{{"ours", t.Ours}, {"api", t.API}, {"bare", t.Bare}} {
		b.Run(who.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := who.op(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkHealthService(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { run(b, newRig(b, Instances(n)).HealthService(n)) })
	}
}

func BenchmarkCatalogServices(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { run(b, newRig(b, ServiceMap(n)).CatalogServices(n)) })
	}
}

func BenchmarkPassTTL(b *testing.B) { run(b, newRig(b, nil).PassTTL()) }

func BenchmarkRegister(b *testing.B) { run(b, newRig(b, nil).Register()) }

func BenchmarkWake(b *testing.B) {
	t, err := newRig(b, Instances(1000)).Wake()
	if err != nil {
		b.Fatal(err)
	}
	run(b, t)
}

// BenchmarkGzip reads instances from an agent on the same machine with and
// without compression, which costs both sides time and saves bytes that never
// leave the machine. The agent compresses as real ones do, at the default level.
func BenchmarkGzip(b *testing.B) {
	for _, network := range []string{"tcp", "unix"} {
		for _, n := range []int{10, 100, 1000} {
			for _, zip := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/%d/gzip=%t", network, n, zip), func(b *testing.B) { readGzip(b, network, n, zip) })
			}
		}
	}
}

func readGzip(b *testing.B, network string, n int, zip bool) {
	body := Instances(n)
	address := "127.0.0.1:0"
	if network == "unix" {
		address = b.TempDir() + "/agent.sock"
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		b.Fatal(err)
	}
	agent := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Accept-Encoding") != "gzip" {
			w.Write(body)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		z.Write(body)
		z.Close()
	})}
	go agent.Serve(listener)
	defer agent.Close()
	transport := &http.Transport{
		DisableCompression: !zip,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, listener.Addr().String())
		},
	}
	defer transport.CloseIdleConnections()
	client, err := consul.NewClient(consul.Config{Transport: transport})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		entries, _, err := client.Health().Service(context.Background(), "web", nil)
		if err != nil || len(entries) != n {
			b.Fatalf("got %d instances, %v; want %d", len(entries), err, n)
		}
	}
}
