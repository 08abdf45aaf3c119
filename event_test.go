package consul

import (
	"context"
	"errors"
	"testing"
)

func TestEventErrors(t *testing.T) {
	ctx := context.Background()
	client, asked := newTestAgent(t, Config{}, canned{code: 500, body: "error broadcasting event: encoded user event exceeds configured limit of 512 bytes after encoding"})
	_, err := client.Event().Fire(ctx, nil, nil)
	wantError(t, err, "nil UserEvent")
	_, err = client.Event().Fire(ctx, &UserEvent{}, nil)
	wantError(t, err, "name of the event is empty")
	_, err = client.Event().Fire(ctx, &UserEvent{Name: "a", TagFilter: "t"}, nil)
	wantError(t, err, "TagFilter", "ServiceFilter")
	if asked.Count > 0 {
		t.Errorf("%d requests were sent", asked.Count)
	}
	if _, err = client.Event().Fire(ctx, &UserEvent{Name: "a", Payload: make([]byte, 500)}, nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

// A response without an ID is no success.
func TestFireWithoutID(t *testing.T) {
	for _, body := range []string{"{}", "null"} {
		client, _ := newTestAgent(t, Config{}, canned{body: body})
		_, err := client.Event().Fire(context.Background(), &UserEvent{Name: "a"}, nil)
		wantError(t, err, "/v1/event/fire/a: ", "no ID of an event")
	}
}
