package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lictor-go/consul/benchmarks"
)

// cannedAgent is what an agent process is told.
type cannedAgent struct {
	Instances int  // of each service
	Services  int  // if more than 0, all answers are a catalog of so many services
	Keys      int  // if more than 0, all answers are so many keys
	Each      int  // if more than 0, so many instances or keys change from one answer to the next
	TLS       bool // serve https, and HTTP/2 to clients that want it
	Waits     bool // let queries with an index wait for a change
	Limit     int  // connections that it allows; 0 for any number
}

// agentQuestion is what an agent process is asked.
type agentQuestion struct {
	Change bool // change the services that change, before answering; once
}

// isChanging reports whether the service that a path ends with is one that changes: a
// tenth of those that are numbered.
func isChanging(path string) bool { return strings.HasSuffix(path, "0") }

// agentCounts is what it answers.
type agentCounts struct {
	Connections int // open
	Refused     int // connections, since the start
	Queries     int // answered or waiting, since the start
}

// agent gives canned answers, and counts its connections and queries.
type agent struct {
	cannedAgent
	changed chan struct{} // closed by the change

	mu     sync.Mutex
	open   map[net.Conn]bool
	counts agentCounts
}

// startAgentProcess starts an agent and returns its address, with https:// in
// front if it speaks that only.
func startAgentProcess(details cannedAgent) (*process, string, error) {
	p, err := start("agent", details)
	if err != nil {
		return nil, "", err
	}
	var addr string
	if err := p.answer(&addr); err != nil {
		p.stop()
		return nil, "", err
	}
	return p, addr, nil
}

// beAgent serves until nobody has questions any more.
func beAgent(in *json.Decoder, out *json.Encoder) error {
	a := &agent{changed: make(chan struct{}), open: make(map[net.Conn]bool)}
	if err := in.Decode(&a.cannedAgent); err != nil {
		return err
	}
	server := httptest.NewUnstartedServer(a.handler())
	server.Config.ConnState = a.count
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // for handshakes of connections that were too many
	if server.EnableHTTP2 = true; a.TLS {
		server.StartTLS() // with a certificate that nobody trusts
	} else {
		server.Start()
	}
	defer server.Listener.Close() // and not the server, which would wait for its queries
	if err := out.Encode(strings.TrimPrefix(server.URL, "http://")); err != nil {
		return err
	}
	return serve(in, out, a.answer)
}

// answer counts, after the change if it is time for it.
func (a *agent) answer(q agentQuestion) agentCounts {
	if q.Change {
		close(a.changed)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts.Connections = len(a.open)
	return a.counts
}

// handler answers at once, or after the change if the query waits for it.
func (a *agent) handler() http.Handler {
	if a.Keys > 0 && a.Each > 0 {
		return benchmarks.NewChangingKeys(a.Keys, a.Each)
	}
	if a.Each > 0 {
		return benchmarks.NewChanging(a.Instances, a.Each)
	}
	body := benchmarks.Instances(a.Instances)
	if a.Services > 0 {
		body = benchmarks.ServiceMap(a.Services)
	}
	if a.Keys > 0 {
		body = benchmarks.Keys(a.Keys)
	}
	before := benchmarks.Answer{Index: 7, Body: body}
	after := benchmarks.Answer{Index: 8, Body: bytes.ReplaceAll(body, []byte(`"Port":8080`), []byte(`"Port":8081`))}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.counts.Queries++
		a.mu.Unlock()
		answer, changed := before, a.changed
		if !isChanging(r.URL.Path) {
			changed = nil // never
		}
		select {
		case <-changed:
			answer, changed = after, nil // not again
		default:
		}
		q := r.URL.Query()
		if a.Waits && q.Get("index") == strconv.Itoa(answer.Index) {
			wait, err := time.ParseDuration(q.Get("wait"))
			if err != nil {
				wait = 5 * time.Minute // what agents wait by default
			}
			select {
			case <-changed:
				answer = after
			case <-time.After(wait):
			case <-r.Context().Done():
			}
		}
		answer.ServeHTTP(w, r)
	})
}

// count counts the connections that are open, and refuses those above the limit
// as an agent of version 1.21.4 does.
func (a *agent) count(conn net.Conn, state http.ConnState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch state {
	case http.StateNew:
		if a.Limit > 0 && len(a.open) >= a.Limit {
			a.counts.Refused++
			io.WriteString(conn, "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"+
				"Your IP is issuing too many concurrent connections, please rate limit your calls\n")
			conn.Close()
			return
		}
		a.open[conn] = true
	case http.StateClosed:
		delete(a.open, conn)
	}
}
