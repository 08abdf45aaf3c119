package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/internal/httplog"
)

// control serves /control/, where programs in other languages inject faults, restart the
// agent and read which requests it was sent. All bodies are JSON.
type control struct {
	agent *consulmock.Server
	mux   *http.ServeMux

	mu     sync.Mutex
	last   int // ID
	faults map[int]*injected
}

// injected is a fault until it is removed, also when it is used up.
type injected struct {
	body   json.RawMessage // as it was sent
	seen   *consulmock.Observer
	remove func()
}

func newControl(agent *consulmock.Server) *control {
	c := &control{agent: agent, mux: http.NewServeMux(), faults: map[int]*injected{}}
	c.mux.HandleFunc("POST /control/faults", c.inject)
	c.mux.HandleFunc("GET /control/faults", c.list)
	c.mux.HandleFunc("DELETE /control/faults", c.removeAll)
	c.mux.HandleFunc("DELETE /control/faults/{id}", c.remove)
	c.mux.HandleFunc("POST /control/restart", c.restart)
	c.mux.HandleFunc("GET /control/requests", c.requests)
	return c
}

// ServeHTTP implements [http.Handler]. What is not below /control/ is the agent's.
func (c *control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/control/") {
		c.agent.Handler().ServeHTTP(w, r)
		return
	}
	c.mux.ServeHTTP(w, r)
}

// done returns a channel that is closed when the agent has ended and was not restarted.
func (c *control) done() <-chan struct{} {
	left := make(chan struct{})
	go func() {
		defer close(left)
		for ended := c.agent.Done(); ; {
			<-ended
			ended = c.agent.Done() // another one if it was restarted
			select {
			case <-ended:
				return
			default:
			}
		}
	}()
	return left
}

// faultBody is a [consulmock.Fault] in JSON: its fields by name, except Match and Observe.
type faultBody struct {
	Method, Path string
	Skip, Times  int
	Always       bool
	Latency      duration
	Hang         bool // until the fault is removed
	Drop         drop
	NoLeader     bool
	RateLimit    duration
	Status       int
	Body         string
	Header       http.Header
	Index        uint64
	TruncateAt   int
	Endless      bool
}

// duration is a duration in JSON, such as "2s".
type duration time.Duration

// UnmarshalJSON implements [json.Unmarshaler].
func (d *duration) UnmarshalJSON(data []byte) error {
	var text string
	err := json.Unmarshal(data, &text)
	if err == nil {
		var parsed time.Duration
		parsed, err = time.ParseDuration(text)
		*d = duration(parsed)
	}
	if err != nil {
		return fmt.Errorf(`duration %s: want text such as "2s" or "150ms"`, data)
	}
	return nil
}

// drop is the name of a [consulmock.Drop].
type drop consulmock.Drop

var drops = map[string]consulmock.Drop{
	"NoDrop": consulmock.NoDrop, "DropRequest": consulmock.DropRequest, "DropAnswer": consulmock.DropAnswer,
	"ResetRequest": consulmock.ResetRequest, "ResetAnswer": consulmock.ResetAnswer,
}

// UnmarshalJSON implements [json.Unmarshaler].
func (d *drop) UnmarshalJSON(data []byte) error {
	var name string
	if json.Unmarshal(data, &name) == nil {
		if value, ok := drops[name]; ok {
			*d = drop(value)
			return nil
		}
	}
	return fmt.Errorf("Drop %s: want any of %s", data, strings.Join(slices.Sorted(maps.Keys(drops)), ", "))
}

// fault returns the fault, and what ends its Hang.
func (b *faultBody) fault(seen *consulmock.Observer) (f consulmock.Fault, release func()) {
	f = consulmock.Fault{
		Method: b.Method, Path: b.Path, Skip: b.Skip, Times: b.Times, Always: b.Always, Observe: seen,
		Latency: time.Duration(b.Latency), Drop: consulmock.Drop(b.Drop), NoLeader: b.NoLeader, RateLimit: time.Duration(b.RateLimit),
		Status: b.Status, Body: b.Body, Header: b.Header, Index: b.Index, TruncateAt: b.TruncateAt, Endless: b.Endless,
	}
	if !b.Hang {
		return f, func() {}
	}
	hang := make(chan struct{})
	f.Hang = hang
	return f, func() { close(hang) }
}

func (c *control) inject(w http.ResponseWriter, r *http.Request) {
	var body faultBody
	data, err := read(w, r, &body)
	if err == nil && len(data) == 0 {
		err = errors.New("the body is empty; want a fault")
	}
	if err != nil {
		respond(w, http.StatusBadRequest, err)
		return
	}
	seen := &consulmock.Observer{}
	f, release := body.fault(seen)
	if err := f.Check(); err != nil {
		respond(w, http.StatusBadRequest, errors.New(strings.TrimPrefix(err.Error(), "consulmock: ")))
		return
	}
	c.mu.Lock()
	c.last++
	id, remove := c.last, c.agent.Inject(f)
	c.faults[id] = &injected{data, seen, func() { remove(); release() }}
	c.mu.Unlock()
	respond(w, http.StatusCreated, struct{ ID int }{id})
}

func (c *control) list(w http.ResponseWriter, r *http.Request) {
	type element struct {
		ID    int
		Count int // of the requests to which it applied
		Fault json.RawMessage
	}
	list := []element{}
	c.mu.Lock()
	for _, id := range slices.Sorted(maps.Keys(c.faults)) {
		list = append(list, element{id, c.faults[id].seen.Count(), c.faults[id].body})
	}
	c.mu.Unlock()
	respond(w, http.StatusOK, list)
}

func (c *control) remove(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.Atoi(r.PathValue("id")) // 0 is nobody's
	c.mu.Lock()
	fault := c.faults[id]
	delete(c.faults, id)
	c.mu.Unlock()
	if fault == nil {
		respond(w, http.StatusNotFound, fmt.Errorf("there is no fault %q", r.PathValue("id")))
		return
	}
	fault.remove()
	w.WriteHeader(http.StatusNoContent)
}

func (c *control) removeAll(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, fault := range c.faults {
		fault.remove()
	}
	clear(c.faults)
	w.WriteHeader(http.StatusNoContent)
}

func (c *control) restart(w http.ResponseWriter, r *http.Request) {
	var body struct{ KeepState bool }
	if _, err := read(w, r, &body); err != nil {
		respond(w, http.StatusBadRequest, err)
		return
	}
	c.agent.Restart(body.KeepState)
	w.WriteHeader(http.StatusNoContent)
}

func (c *control) requests(w http.ResponseWriter, r *http.Request) {
	type element struct {
		Method string
		URL    string // without the token
		Status int    // 0 if there is no response
		Time   time.Time
	}
	list := []element{}
	for _, r := range c.agent.Requests() {
		list = append(list, element{r.Method, httplog.URL(r.Path, r.Query), r.Status, r.Time})
	}
	respond(w, http.StatusOK, list)
}

// read decodes the body, which may be empty, and returns it.
func read(w http.ResponseWriter, r *http.Request, value any) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil || len(data) == 0 {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		return nil, errors.New("body: " + strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("body: want one JSON object")
	}
	return data, nil
}

// respond sends a value as JSON. That of an error is an object with its text.
func respond(w http.ResponseWriter, status int, value any) {
	if err, ok := value.(error); ok {
		value = struct{ Error string }{err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}

// checkLoopback returns an error unless the address is one of the loopback interface.
func checkLoopback(address string) error {
	resolved, err := net.ResolveTCPAddr("tcp", address)
	if err == nil && !resolved.IP.IsLoopback() {
		err = fmt.Errorf("-control at %s: want an address of the loopback interface, or -control-remote", cmp.Or(address, "every address"))
	}
	return err
}
