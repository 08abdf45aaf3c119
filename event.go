package consul

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// Event fires user events and lists them. Agents pass an event on among themselves
// and to the watches of Consul's tools. They keep the last 256, in memory, in the
// order in which they have heard of them.
type Event struct {
	c *Client
}

// UserEvent is a user event.
type UserEvent struct {
	ID      string // made by the agent
	Name    string
	Payload []byte // about 400 bytes at most

	// NodeFilter, ServiceFilter and TagFilter are regular expressions that choose the
	// agents to which the event is of interest: by the name of the node, of a service on
	// it, and by a tag of that service. Empty means all.
	NodeFilter    string
	ServiceFilter string
	TagFilter     string

	Version int    // of the protocol
	LTime   uint64 // Lamport time; 0 when it is fired
}

// Fire fires an event and returns its ID. Name, Payload and the filters count. An
// event that is too large for the protocol of the agents is [ErrTooLarge].
//
// PUT /v1/event/fire/{name}
func (e *Event) Fire(ctx context.Context, u *UserEvent, w *WriteOptions) (id string, err error) {
	switch {
	case u == nil:
		return "", errors.New("consul: nil UserEvent")
	case u.TagFilter != "" && u.ServiceFilter == "":
		return "", fmt.Errorf("consul: UserEvent.TagFilter %q without a ServiceFilter", shorten(u.TagFilter, maxErrorMessage))
	}
	r := e.c.write(http.MethodPut, named("/v1/event/fire/", "name of the event", u.Name), w)
	for name, filter := range map[string]string{"node": u.NodeFilter, "service": u.ServiceFilter, "tag": u.TagFilter} {
		if filter != "" {
			r.params.Set(name, filter)
		}
	}
	var fired UserEvent
	r.in, r.out = append([]byte{}, u.Payload...), &fired
	if _, err := e.c.do(ctx, r); err != nil {
		return "", err
	}
	if fired.ID == "" {
		return "", e.c.fail(ctx, r, errors.New("the response has no ID of an event"))
	}
	return fired.ID, nil
}

// List returns the last events that are of interest to the agent, the oldest first;
// with a name only those of that name. Each call returns the whole list: tell events
// that were there before by their ID.
//
// The list can be waited on with [QueryOptions.WaitIndex], but its index is a random
// number that does not grow: the agent responds when it is another one.
//
// GET /v1/event/list
func (e *Event) List(ctx context.Context, name string, q *QueryOptions) ([]*UserEvent, *QueryMeta, error) {
	params := url.Values{}
	if name != "" {
		params.Set("name", name)
	}
	return find[*UserEvent](ctx, e.c, at("/v1/event/list"), params, q, nil)
}
