package kratos_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/kratos"
)

// cluster is a local agent in dc1 that forwards requests to other datacenters, as an
// agent does that is joined with others. A datacenter that is listed but has no
// server is out of reach: the local agent responds with "No path to datacenter".
type cluster struct {
	local   *consulmock.Server
	servers map[string]*consulmock.Server // by datacenter

	mu   sync.Mutex
	list []string // of datacenters
	down bool     // the local agent refuses connections
}

// newCluster returns a cluster with these datacenters besides dc1.
func newCluster(t *testing.T, others ...string) *cluster {
	c := &cluster{local: consulmock.New(t), list: append([]string{"dc1"}, others...)}
	c.servers = map[string]*consulmock.Server{"": c.local, "dc1": c.local}
	for _, dc := range others {
		c.servers[dc] = consulmock.New(t, consulmock.WithDatacenter(dc))
	}
	return c
}

// registry returns a registry that uses the local agent, closed when the test ends.
func (c *cluster) registry(t *testing.T, opts *kratos.Options) *kratos.Registry {
	t.Helper()
	client, err := consul.NewClient(consul.Config{Transport: c})
	if err != nil {
		t.Fatal(err)
	}
	r := kratos.New(client, opts)
	t.Cleanup(func() { r.Close() })
	return r
}

// add adds an instance of web.
func (c *cluster) add(dc, id string) {
	c.servers[dc].AddService(&consul.AgentServiceRegistration{ID: id, Name: "web", Port: 80})
}

// setList sets the datacenters that the local agent lists.
func (c *cluster) setList(dcs ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = dcs
}

func (c *cluster) setDown(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

// asked returns how many requests for a path have reached the local agent.
func (c *cluster) asked(path string) int {
	n := 0
	for _, r := range c.local.Requests() {
		if r.Path == path {
			n++
		}
	}
	return n
}

// RoundTrip implements [http.RoundTripper].
func (c *cluster) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	list, down := c.list, c.down
	c.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	server := c.servers[r.URL.Query().Get("dc")]
	if server == nil {
		server = c.local
	}
	resp, err := server.Transport().RoundTrip(r)
	if err != nil || r.URL.Path != datacentersPath || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	resp.Body.Close()
	body, err := json.Marshal(list)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, err
}

const (
	datacentersPath = "/v1/catalog/datacenters"
	webPath         = "/v1/health/service/web"
)
