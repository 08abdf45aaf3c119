//go:build go1.25

package discovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lictor-go/consul"
)

// modelInstance is an instance of the service web. It does not change.
type modelInstance struct {
	id, dc        string
	port          int
	status        consul.HealthStatus
	index, spaces int
}

func (i *modelInstance) json() string {
	return fmt.Sprintf(`{"Node":{"Node":"n%s","Address":"10.0.0.1","Datacenter":%q,"Meta":{"k":"v"}},`+
		`"Service":{"ID":%q,"Service":"web","Port":%d,"Tags":["t","u"],"Meta":{"m":"%d"},"ModifyIndex":%d,"Weights":{"Passing":%d,"Warning":1}},`+
		`"Checks":[%s{"CheckID":"c","Status":%q}]}`,
		i.id[:1], i.dc, i.id, i.port, i.port, i.index, i.port, strings.Repeat(" ", i.spaces%3), i.status)
}

// listingAgent has the instances of the service web in several datacenters.
type listingAgent struct{ dcs map[string]*listing }

// of returns what a datacenter has. The agent is in the first one.
func (a *listingAgent) of(dc string) *listing {
	if dc == "" {
		dc = "dc1"
	}
	return a.dcs[dc]
}

var errStatus = errors.New("answers with 500")

type listing struct {
	gone []*modelInstance // while the service has disappeared

	mu      sync.Mutex
	list    []*modelInstance
	base    uint64 // the first index since the last reset
	index   uint64
	err     error
	changed chan struct{}
}

// set changes the list, and wakes the queries that wait.
func (l *listing) set(list []*modelInstance) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = list
	l.index++
	close(l.changed)
	l.changed = make(chan struct{})
}

// reset makes the index one that is lower than all before.
func (l *listing) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.base -= 1 << 16
	l.index = l.base
}

// fail makes all queries fail, also those that wait. A nil error ends that.
func (l *listing) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err = err; err != nil {
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

// text returns the list as a response has it.
func (l *listing) text(passing bool) string {
	var texts []string
	for _, i := range l.list {
		if !passing || i.status == consul.HealthPassing {
			texts = append(texts, i.json())
		}
	}
	return "[" + strings.Join(texts, ",") + "]"
}

func (l *listing) entries(passing bool) (entries []*consul.ServiceEntry) {
	if err := json.Unmarshal([]byte(l.text(passing)), &entries); err != nil {
		panic(err)
	}
	return entries
}

// RoundTrip implements [http.RoundTripper].
func (a *listingAgent) RoundTrip(req *http.Request) (*http.Response, error) {
	q := req.URL.Query()
	l := a.of(q.Get("dc"))
	asked, _ := strconv.ParseUint(q.Get("index"), 10, 64)
	wait, _ := time.ParseDuration(q.Get("wait"))
	timeout := time.After(wait)
	for {
		l.mu.Lock()
		index, err, changed := l.index, l.err, l.changed
		text := l.text(q.Has("passing"))
		l.mu.Unlock()
		status := http.StatusOK
		if err == errStatus {
			status, text = http.StatusInternalServerError, "No path to datacenter"
		} else if err != nil {
			return nil, err
		}
		if asked == 0 || asked != index || err != nil {
			header := http.Header{"X-Consul-Index": {strconv.FormatUint(index, 10)}}
			return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(text)), Request: req}, nil
		}
		select {
		case <-changed:
		case <-timeout:
			asked = 0
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
}
