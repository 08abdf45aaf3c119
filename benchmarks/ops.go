package benchmarks

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/lictor-go/consul"
)

// Op is one operation whose cost is measured.
type Op func() error

// Trio are the same operation by three clients: ours, consul/api, and a bare
// net/http request that only reads the answer, which is the floor for both.
type Trio struct{ Ours, API, Bare Op }

// Rig is an agent with one canned answer, and the clients that ask it.
type Rig struct {
	server *httptest.Server
	addr   string
	ours   *consul.Client
	api    *api.Client
	bare   *http.Client
}

// NewRig starts an agent that answers everything with body.
func NewRig(body []byte) (*Rig, error) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Consul-Index", "7")
		w.Header().Set("X-Consul-Knownleader", "true")
		w.Header().Set("X-Consul-Lastcontact", "0")
		w.Write(body)
	}))
	r := &Rig{server: server, addr: strings.TrimPrefix(server.URL, "http://")}
	var err error
	if r.ours, err = consul.NewClient(consul.Config{Address: r.addr}); err != nil {
		return nil, err
	}
	if r.api, err = api.NewClient(&api.Config{Address: r.addr}); err != nil {
		return nil, err
	}
	r.bare = &http.Client{Transport: &http.Transport{DisableCompression: true}}
	return r, nil
}

// Close stops the agent.
func (r *Rig) Close() {
	r.ours.CloseIdleConnections()
	r.bare.CloseIdleConnections()
	r.server.CloseClientConnections()
	r.server.Close()
}

// request performs a request as simply as net/http allows.
func (r *Rig) request(method, path string, body []byte) error {
	var in io.Reader
	if body != nil {
		in = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+r.addr+path, in)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := r.bare.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// HealthService reads the n instances of a service.
func (r *Rig) HealthService(n int) Trio {
	check := func(got int, err error) error {
		if err == nil && got != n {
			err = fmt.Errorf("got %d instances, want %d", got, n)
		}
		return err
	}
	return Trio{
		Ours: func() error {
			entries, _, err := r.ours.Health().Service(context.Background(), "web", nil)
			return check(len(entries), err)
		},
		API: func() error {
			entries, _, err := r.api.Health().Service("web", "", false, nil)
			return check(len(entries), err)
		},
		Bare: func() error { return r.request(http.MethodGet, "/v1/health/service/web", nil) },
	}
}

// PassTTL reports that a check passes.
func (r *Rig) PassTTL() Trio {
	return Trio{
		Ours: func() error { return r.ours.Agent().PassTTL(context.Background(), "service:web-1", "all is well") },
		API:  func() error { return r.api.Agent().PassTTL("service:web-1", "all is well") },
		Bare: func() error {
			return r.request(http.MethodPut, "/v1/agent/check/pass/service:web-1?note=all+is+well", nil)
		},
	}
}

// Register registers an instance with a check. The bare request sends a body that
// was encoded before.
func (r *Rig) Register() Trio {
	ours := &consul.AgentServiceRegistration{
		ID: "web-1", Name: "web", Address: "10.0.0.1", Port: 8080,
		Tags: []string{"primary", "v1"}, Meta: map[string]string{"version": "1.2.3"},
		Check: &consul.AgentServiceCheck{TTL: 15 * time.Second, Status: consul.HealthPassing},
	}
	theirs := &api.AgentServiceRegistration{
		ID: "web-1", Name: "web", Address: "10.0.0.1", Port: 8080,
		Tags: []string{"primary", "v1"}, Meta: map[string]string{"version": "1.2.3"},
		Check: &api.AgentServiceCheck{TTL: "15s", Status: api.HealthPassing},
	}
	body := []byte(`{"ID":"web-1","Name":"web","Tags":["primary","v1"],"Port":8080,"Address":"10.0.0.1",` +
		`"Meta":{"version":"1.2.3"},"Check":{"Status":"passing","TTL":"15s"}}`)
	return Trio{
		Ours: func() error { return r.ours.Agent().ServiceRegister(context.Background(), ours) },
		API:  func() error { return r.api.Agent().ServiceRegister(theirs) },
		Bare: func() error { return r.request(http.MethodPut, "/v1/agent/service/register", body) },
	}
}
