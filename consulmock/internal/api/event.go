package api

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/agent"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
)

// fireEvent serves PUT /v1/event/fire/{name}.
func fireEvent(q *request) (any, error) {
	if q.name == "" {
		return nil, refusal.BadRequest("Missing name")
	}
	e := &agent.UserEvent{
		Name: q.name, Payload: q.sizedBody(),
		NodeFilter: q.query.Get("node"), ServiceFilter: q.query.Get("service"), TagFilter: q.query.Get("tag"),
	}
	if err := e.Validate(); err != nil {
		return nil, err
	}
	if err := q.checkDatacenter(q.query.Get("dc")); err != nil {
		return nil, err
	}
	authz, err := q.authorize()
	if err != nil {
		return nil, errors.New(err.Error()) // with another status than elsewhere
	}
	if !authz.Allows(acl.EventWrite, e.Name) {
		return nil, acl.ErrDenied
	}
	if err := q.a.FireEvent(e); err != nil {
		return nil, err
	}
	return e, nil
}

// maxEventWait is how long a wait for events is at most, and by default.
const maxEventWait = 10 * time.Minute

// listEvents serves GET /v1/event/list. Its index only says whether the last event is
// another one.
func listEvents(q *request) (any, error) {
	wait, index, err := q.waitOptions()
	if err != nil {
		return nil, err
	}
	if wait <= 0 {
		wait = maxEventWait
	}
	_, err = q.wait(min(wait, maxEventWait), func() bool {
		events, err := q.events()
		return err == nil && index == eventIndex(events)
	}, func() []string { return []string{agent.EventKey} })
	if err != nil {
		return nil, err
	}
	events, err := q.events()
	if err != nil {
		return nil, err
	}
	q.w.Header().Set("X-Consul-Index", strconv.FormatUint(eventIndex(events), 10))
	return events, nil
}

// eventIndex returns the index of a list of events: that of the last one.
func eventIndex(events []*agent.UserEvent) uint64 {
	if len(events) == 0 {
		return 1
	}
	return events[len(events)-1].Index()
}

// events returns the events of the name that is requested which the token may read.
func (q *request) events() ([]*agent.UserEvent, error) {
	authz, err := q.authorize()
	if err != nil {
		return nil, err
	}
	name := q.query.Get("name")
	events := slices.DeleteFunc(slices.Clone(q.a.Events), func(e *agent.UserEvent) bool { return name != "" && e.Name != name })
	allowed := func(e *agent.UserEvent) bool { return authz.Allows(acl.EventRead, e.Name) }
	list, filtered, err := collect(events, allowed, func(e *agent.UserEvent) *agent.UserEvent { return e }, matchAll)
	q.setFiltered(authz, filtered)
	return list, err
}
