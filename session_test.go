package consul_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// A session is created, found, renewed and destroyed.
func TestSession(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, isOld bool) {
		sessions := agent.Client().Session()
		agent.AddService(web("web"))
		id, err := sessions.Create(ctx, &consul.SessionEntry{
			Name: "leader", TTL: 15 * time.Second, LockDelay: time.Second, Behavior: consul.SessionDelete,
			NodeChecks: []string{}, ServiceChecks: []consul.SessionServiceCheck{{ID: "service:web"}},
		}, nil)
		succeed(t, err)
		s, meta, err := sessions.Info(ctx, id, nil)
		succeed(t, err)
		want(t, "session", *s, consul.SessionEntry{
			ID: id, Name: "leader", Node: "node1", TTL: 15 * time.Second, LockDelay: time.Second, Behavior: consul.SessionDelete,
			NodeChecks: []string{}, ServiceChecks: []consul.SessionServiceCheck{{ID: "service:web"}},
			CreateIndex: meta.LastIndex, ModifyIndex: meta.LastIndex,
		})
		renewed, err := sessions.Renew(ctx, id, nil)
		succeed(t, err)
		want(t, "renewed", renewed, s)

		byDefault, err := sessions.Create(ctx, nil, nil)
		succeed(t, err)
		s, _, err = sessions.Info(ctx, byDefault, nil)
		succeed(t, err)
		want(t, "checks by default", s.NodeChecks, []string{"serfHealth"})
		want(t, "lock-delay by default", s.LockDelay, 15*time.Second)
		all, _, err := sessions.List(ctx, nil)
		succeed(t, err)
		onNode, _, err := sessions.Node(ctx, "node1", nil)
		succeed(t, err)
		want(t, "on the node", onNode, all)
		found := []string{all[0].ID, all[1].ID}
		slices.Sort(found)
		created := []string{id, byDefault}
		slices.Sort(created)
		want(t, "all sessions", found, created)

		succeed(t, sessions.Destroy(ctx, id, nil))
		if s, meta, err = sessions.Info(ctx, id, nil); s != nil || err != nil || meta.LastIndex == 0 {
			t.Errorf("a session that has ended: %+v, %+v, %v", s, meta, err)
		}
		_, err = sessions.Renew(ctx, id, nil)
		wantError(t, err, consul.ErrUnknownSession)
		wantError(t, err, consul.ErrNotFound)
		succeed(t, sessions.Destroy(ctx, id, nil))
	})
}

// What an agent returns of a session creates an equal one.
func TestSessionRoundTrip(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, isOld bool) {
		sessions := agent.Client().Session()
		agent.AddService(web("web"))
		for name, e := range map[string]consul.SessionEntry{
			"defaults":             {},
			"nothing at all":       {LockDelay: consul.NoLockDelay, NodeChecks: []string{}},
			"everything":           {Name: "n", Node: "node1", TTL: time.Minute, LockDelay: time.Hour, Behavior: consul.SessionDelete, NodeChecks: []string{"service:web"}},
			"checks as before 1.7": {Checks: []string{"service:web"}},
		} {
			var copies []string
			for range 2 {
				id, err := sessions.Create(ctx, &e, nil)
				succeed(t, err)
				s, _, err := sessions.Info(ctx, id, nil)
				succeed(t, err)
				data, err := json.Marshal(s)
				succeed(t, err)
				e = consul.SessionEntry{}
				succeed(t, json.Unmarshal(data, &e))
				want(t, name+": what was decoded", e, *s)
				s.ID, s.CreateIndex, s.ModifyIndex = "", 0, 0
				data, err = json.Marshal(s)
				succeed(t, err)
				copies = append(copies, string(data))
			}
			want(t, name, copies[1], copies[0])
		}
	})
}

func TestSessionErrors(t *testing.T) {
	agent := consulmock.New(t)
	sessions := agent.Client().Session()
	_, err := sessions.Create(ctx, &consul.SessionEntry{TTL: -time.Second}, nil)
	wantError(t, err, nil, "SessionEntry.TTL is -1s")
	wantError(t, sessions.Destroy(ctx, "", nil), nil, "session ID is empty")
	wantSent(t, agent)

	_, err = sessions.Create(ctx, &consul.SessionEntry{TTL: time.Second}, nil)
	wantError(t, err, nil, "Invalid Session TTL", "[10s=24h0m0s]")
	_, err = sessions.Create(ctx, &consul.SessionEntry{NodeChecks: []string{"none"}}, nil)
	wantError(t, err, nil, "Missing check 'none' registration")

	// What no agent does.
	agent.Inject(consulmock.Fault{Path: "/v1/session/renew/*", Body: "[]"})
	_, err = sessions.Renew(ctx, "s", nil)
	wantError(t, err, nil, "no session in it")
	agent.Inject(consulmock.Fault{Path: "/v1/session/create", Body: "{}"})
	_, err = sessions.Create(ctx, nil, nil)
	wantError(t, err, nil, "no ID of a session")
}

// Agents respond with an empty list if there is no such session. Null, and a null in the
// list, come from something else, and are not taken for a session that has ended.
func TestSessionInfoOfNull(t *testing.T) {
	agent := consulmock.New(t)
	client := agent.Client()
	for _, body := range []string{`null`, `[null]`} {
		agent.Inject(consulmock.Fault{Path: "/v1/session/info/*", Body: body, Header: http.Header{"X-Consul-Index": {"7"}}})
		session, meta, err := client.Session().Info(ctx, "s", nil)
		if session != nil || meta != nil {
			t.Errorf("%s: %v, %+v", body, session, meta)
		}
		wantError(t, err, nil, "GET http://127.0.0.1:8500/v1/session/info/s: ", "not the response of an agent")
	}
	for range 2 {
		session, meta, err := client.Session().Info(ctx, "adf4238a-882b-9ddc-4a9d-5b6758e4159e", nil)
		if session != nil || err != nil || meta.LastIndex == 0 {
			t.Errorf("no such session: %v, %+v, %v", session, meta, err)
		}
	}
}
