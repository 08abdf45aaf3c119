package benchmarks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/lictor-go/consul"
)

// Op is one operation whose cost is measured.
type Op func() error

// Trio are the same operation by three clients: ours, consul/api, and a bare
// net/http request that only reads the answer, which is the floor for both.
type Trio struct{ Ours, API, Bare Op }

// Rig are the clients that are compared, and the agent that they ask.
type Rig struct {
	addr string
	ours *consul.Client
	api  *api.Client
	bare *http.Client
}

// Answer is a handler that answers everything with a body, as an agent does.
type Answer struct {
	Index int // in its header
	Body  []byte
}

// ServeHTTP reads the request and answers it.
func (a Answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Consul-Index", strconv.Itoa(a.Index))
	w.Header().Set("X-Consul-Knownleader", "true")
	w.Header().Set("X-Consul-Lastcontact", "0")
	w.Write(a.Body)
}

// NewRig returns clients for the agent at an address (host:port).
func NewRig(addr string) (*Rig, error) {
	r := &Rig{addr: addr, bare: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	var err error
	if r.ours, err = consul.NewClient(consul.Config{Address: addr}); err != nil {
		return nil, err
	}
	if r.api, err = api.NewClient(&api.Config{Address: addr}); err != nil {
		return nil, err
	}
	return r, nil
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
	return Trio{
		Ours: func() error {
			entries, _, err := r.ours.Health().Service(context.Background(), "web", nil)
			return check(len(entries), n, err)
		},
		API: func() error {
			entries, _, err := r.api.Health().Service("web", "", false, nil)
			return check(len(entries), n, err)
		},
		Bare: func() error { return r.request(http.MethodGet, "/v1/health/service/web", nil) },
	}
}

// CatalogServices reads the names and tags of the n services of a catalog.
func (r *Rig) CatalogServices(n int) Trio {
	return Trio{
		Ours: func() error {
			all, _, err := r.ours.Catalog().Services(context.Background(), nil)
			return check(len(all), n, err)
		},
		API: func() error {
			all, _, err := r.api.Catalog().Services(nil)
			return check(len(all), n, err)
		},
		Bare: func() error { return r.request(http.MethodGet, "/v1/catalog/services", nil) },
	}
}

func check(got, want int, err error) error {
	if err == nil && got != want {
		err = fmt.Errorf("got %d entries, want %d", got, want)
	}
	return err
}

// Wake waits for a change that does not come: the answer is the one that is
// known already. Others decode it all the same.
func (r *Rig) Wake() (Trio, error) {
	t := r.HealthService(0)
	q := &consul.QueryOptions{WaitIndex: 7}
	_, meta, err := r.ours.Health().Service(context.Background(), "web", q)
	if err != nil {
		return t, err
	}
	q.Previous = meta.Result
	t.Ours = func() error {
		_, meta, err := r.ours.Health().Service(context.Background(), "web", q)
		if err == nil && meta.Result != q.Previous {
			err = errors.New("the answer has changed")
		}
		return err
	}
	t.API = func() error {
		_, _, err := r.api.Health().Service("web", "", false, &api.QueryOptions{WaitIndex: 7})
		return err
	}
	return t, nil
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

// Entries returns the instances of a service as our client decodes them.
func (r *Rig) Entries() ([]any, error) {
	entries, _, err := r.ours.Health().Service(context.Background(), "web", nil)
	return boxed(entries), err
}

// Result returns the instances of a service with the result of their response.
func (r *Rig) Result() ([]any, *consul.Result, error) {
	q := &consul.QueryOptions{Previous: new(consul.Result)}
	entries, meta, err := r.ours.Health().Service(context.Background(), "web", q)
	if err != nil {
		return nil, nil, err
	}
	return boxed(entries), meta.Result, nil
}

// APIEntries returns the instances of a service as consul/api decodes them.
func (r *Rig) APIEntries() ([]any, error) {
	entries, _, err := r.api.Health().Service("web", "", false, nil)
	return boxed(entries), err
}

func boxed[T any](values []T) []any {
	all := make([]any, len(values))
	for i, v := range values {
		all[i] = v
	}
	return all
}
