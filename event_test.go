package consul_test

import (
	"testing"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// Events are fired and listed, the oldest first.
func TestEvent(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, isOld bool) {
		events := agent.Client().Event()
		agent.AddService(&consul.AgentServiceRegistration{Name: "web", Tags: []string{"blue"}})
		deploy := consul.UserEvent{
			Name: "deploy/web", Payload: []byte("v2\x00"), NodeFilter: "node[0-9]", ServiceFilter: "^web$", TagFilter: "blue|green",
		}
		id, err := events.Fire(ctx, &deploy, nil)
		succeed(t, err)
		_, err = events.Fire(ctx, &consul.UserEvent{Name: "other"}, nil)
		succeed(t, err)

		all, first, err := events.List(ctx, "", nil)
		succeed(t, err)
		want(t, "number of events", len(all), 2)
		deploy.ID, deploy.Version, deploy.LTime = id, 1, all[0].LTime
		want(t, "the first event", *all[0], deploy)
		want(t, "the second event", all[1].Name, "other")
		if all[0].LTime >= all[1].LTime {
			t.Errorf("Lamport times %d and %d", all[0].LTime, all[1].LTime)
		}

		named, meta, err := events.List(ctx, "deploy/web", nil)
		succeed(t, err)
		want(t, "of that name", named, all[:1])
		if meta.LastIndex == first.LastIndex {
			t.Errorf("the indexes of two lists that end with different events are %d", meta.LastIndex)
		}
		// An index that is another one ends the wait at once.
		_, _, err = events.List(ctx, "deploy/web", &consul.QueryOptions{WaitIndex: first.LastIndex})
		succeed(t, err)
	})
}

func TestEventErrors(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, isOld bool) {
		events := agent.Client().Event()
		_, err := events.Fire(ctx, nil, nil)
		wantError(t, err, nil, "nil UserEvent")
		_, err = events.Fire(ctx, &consul.UserEvent{}, nil)
		wantError(t, err, nil, "name of the event is empty")
		_, err = events.Fire(ctx, &consul.UserEvent{Name: "a", TagFilter: "t"}, nil)
		wantError(t, err, nil, "TagFilter", "ServiceFilter")
		wantSent(t, agent)

		_, err = events.Fire(ctx, &consul.UserEvent{Name: "a", NodeFilter: "["}, nil)
		wantError(t, err, nil, "Invalid node filter")
		for _, size := range []int{420, 500} { // refused after and before it is encoded
			_, err = events.Fire(ctx, &consul.UserEvent{Name: "a", Payload: make([]byte, size)}, nil)
			wantError(t, err, consul.ErrTooLarge)
		}
	})
}
