//go:build go1.25

package consulmock_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// fire fires an event.
func fire(t *testing.T, c *consul.Client, e consul.UserEvent) {
	t.Helper()
	_, err := c.Event().Fire(context.Background(), &e, nil)
	must(t, err)
}

// eventNames returns the names and Lamport times of the events of the agent.
func eventNames(t *testing.T, c *consul.Client, name string) string {
	t.Helper()
	events, _, err := c.Event().List(context.Background(), name, nil)
	must(t, err)
	var names []string
	for _, e := range events {
		names = append(names, fmt.Sprint(e.Name, " ", e.LTime))
	}
	return strings.Join(names, ", ")
}

// An agent keeps the events that are for it, and counts the others.
func TestEventFilters(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		s.AddService(&consul.AgentServiceRegistration{ID: "web-1", Name: "web", Tags: []string{"blue"}})
		for _, e := range []consul.UserEvent{
			{Name: "node", NodeFilter: "ode"}, {Name: "other node", NodeFilter: "NODE"},
			{Name: "service", ServiceFilter: "^web-1$"}, {Name: "name of a service", ServiceFilter: "^web$"}, {Name: "no service", ServiceFilter: "consul"},
			{Name: "tag", ServiceFilter: "web", TagFilter: "bl"}, {Name: "other tag", ServiceFilter: "web", TagFilter: "red"},
		} {
			fire(t, c, e)
		}
		if got, want := eventNames(t, c, ""), "node 2, service 4, tag 7"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		_, err := c.Event().Fire(context.Background(), &consul.UserEvent{Name: "x", NodeFilter: "["}, nil)
		wantRefusal(t, err, "500 Invalid node filter: error parsing regexp: missing closing ]: `[`")
	})
}

// An agent keeps 256 events, until it ends.
func TestEventRing(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		for i := range 300 {
			fire(t, c, consul.UserEvent{Name: fmt.Sprint("e", i)})
		}
		if got := strings.Split(eventNames(t, c, ""), ", "); len(got) != 256 || got[0] != "e44 46" || got[255] != "e299 301" {
			t.Errorf("got %d events, %s to %s", len(got), got[0], got[len(got)-1])
		}
		s.Restart(true)
		if got := eventNames(t, c, ""); got != "" {
			t.Errorf("after a restart there are %s", got)
		}
	})
}

// A wait ends with an event of the name that is waited for, or after exactly its time.
func TestEventWait(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		ctx := context.Background()
		var index uint64
		for i, want := range []time.Duration{0, time.Minute, 40 * time.Second, 10 * time.Minute} {
			start, wait := time.Now(), time.Minute
			switch i {
			case 2:
				time.AfterFunc(20*time.Second, func() { c.Event().Fire(ctx, &consul.UserEvent{Name: "other"}, nil) })
				time.AfterFunc(40*time.Second, func() { c.Event().Fire(ctx, &consul.UserEvent{Name: "deploy"}, nil) })
			case 3:
				wait = time.Hour
			}
			_, meta, err := c.Event().List(ctx, "deploy", &consul.QueryOptions{WaitIndex: index, WaitTime: wait})
			must(t, err)
			if waited := time.Since(start); waited != want {
				t.Errorf("wait %d was %s, want %s", i, waited, want)
			}
			index = meta.LastIndex
		}
	})
}

// Which payload fits depends on the name and on the filters. A little above it, the
// error is another one than far above.
func TestEventSize(t *testing.T) {
	for _, version := range []string{"1.21.4", "1.8.7"} {
		inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
			for _, test := range []struct {
				event        consul.UserEvent
				fits, before int
			}{
				{consul.UserEvent{Name: "n"}, 414, 445},
				{consul.UserEvent{Name: strings.Repeat("n", 18)}, 380, 411},
				{consul.UserEvent{Name: strings.Repeat("n", 19)}, 376, 409},
				{consul.UserEvent{Name: strings.Repeat("n", 32)}, 349, 382},
				{consul.UserEvent{Name: strings.Repeat("n", 100)}, 214, 247},
				{consul.UserEvent{Name: "n", NodeFilter: strings.Repeat("f", 31)}, 379, 410},
				{consul.UserEvent{Name: "n", NodeFilter: strings.Repeat("f", 32)}, 377, 408},
				{consul.UserEvent{Name: "n", NodeFilter: "fff", ServiceFilter: "fff", TagFilter: "fff"}, 393, 424},
			} {
				for n, want := range map[int]string{
					test.fits: "", test.fits + 1: "after encoding", test.before - 1: "after encoding", test.before: "before encoding",
				} {
					test.event.Payload = make([]byte, n)
					_, err := c.Event().Fire(context.Background(), &test.event, nil)
					switch {
					case want == "" && err == nil:
					case want == "" || !errors.Is(err, consul.ErrTooLarge) || !strings.Contains(err.Error(), want):
						t.Errorf("%d bytes in %+v: got %v, want %q", n, test.event, err, want)
					}
				}
			}
		}, consulmock.WithVersion(version))
	}
}
