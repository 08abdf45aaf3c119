//go:build go1.25

package outage

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// TestMeasure has an agent that notices after 305 ms, and calls that fail for twice
// as long.
func TestMeasure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := consulmock.New(t)
		for _, id := range []string{"1", "2"} {
			agent.AddService(&consul.AgentServiceRegistration{ID: id, Name: "web", Port: 80})
		}
		var broken atomic.Bool
		all := Repeat(t, 1, func(int) (map[string]Result, error) {
			return Kill{
				Client: agent.Client(), Service: "web",
				Kill: func() {
					broken.Store(true)
					time.AfterFunc(305*time.Millisecond, func() { agent.RemoveService("1") })
					time.AfterFunc(605*time.Millisecond, func() { broken.Store(false) })
				},
				Callers: map[string]func() error{
					"well": func() error { return nil },
					"ill": func() error {
						if broken.Load() {
							return errors.New("no")
						}
						return nil
					},
				},
				Every: 20 * time.Millisecond, After: time.Second,
			}.Measure(context.Background())
		})
		r := all["ill"][0]
		if r.Noticed != 310*time.Millisecond || r.Last != 600*time.Millisecond ||
			r.Lag != 290*time.Millisecond || r.Failed != 31 || r.Errors["no"] != 31 {
			t.Errorf("ill: %+v", r)
		}
		if r := all["well"][0]; r.Last != 0 || r.Lag != 0 || r.Failed != 0 {
			t.Errorf("well: %+v", r)
		}
		const want = `| | the agent noticed after | last failed call | of that, after the agent had noticed | failed calls |
|---|---|---|---|---|
| ill | 0.31 s, 0.31 s | 0.60 s, 0.60 s | 0.29 s, 0.29 s | 31, 31 |
| well | 0.31 s, 0.31 s | 0.00 s, 0.00 s | 0.00 s, 0.00 s | 0, 0 |
`
		if got := Table(all); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}
