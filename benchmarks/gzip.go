package benchmarks

import (
	"compress/gzip"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/lictor-go/consul"
)

// Gzip are reads of the instances of a service from an agent in this process,
// without and with compression.
type Gzip struct {
	Plain, Zipped Op

	agent  *http.Server
	folder string // of the socket
}

// NewGzip starts an agent that answers with n instances on a network, tcp or unix.
// It compresses as real agents do, at the default level, with compressors that are
// used again.
func NewGzip(network string, n int) (*Gzip, error) {
	folder, err := os.MkdirTemp("", "gzip")
	if err != nil {
		return nil, err
	}
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(folder, "agent.sock")
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	body := Instances(n)
	compressors := sync.Pool{New: func() any { return gzip.NewWriter(nil) }}
	g := &Gzip{folder: folder, agent: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Accept-Encoding") != "gzip" {
			w.Write(body)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := compressors.Get().(*gzip.Writer)
		defer compressors.Put(z)
		z.Reset(w)
		z.Write(body)
		z.Close()
	})}}
	go g.agent.Serve(listener)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, listener.Addr().String())
	}
	read := func(compress bool) (Op, error) {
		client, err := consul.NewClient(consul.Config{Transport: &http.Transport{DisableCompression: !compress, DialContext: dial}})
		return func() error {
			entries, _, err := client.Health().Service(context.Background(), "web", nil)
			return check(len(entries), n, err)
		}, err
	}
	if g.Plain, err = read(false); err != nil {
		return nil, err
	}
	g.Zipped, err = read(true)
	return g, err
}

// Close stops the agent.
func (g *Gzip) Close() {
	g.agent.Close()
	os.RemoveAll(g.folder)
}
