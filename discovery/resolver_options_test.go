//go:build go1.25

package discovery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

func TestResolverAllowWarning(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		for _, id := range []string{"p", "w", "c"} {
			agent.add("web", id)
		}
		agent.SetCheckStatus("service:w", consul.HealthWarning, "")
		agent.SetCheckStatus("service:c", consul.HealthCritical, "")
		want(t, "passing", instances2(t, agent.resolver(nil), "web"), "p")
		want(t, "warning too", instances2(t, agent.resolver(&discovery.ResolverOptions{AllowWarning: true}), "web"), "p w")
	})
}

// TestResolverPrintsNoToken prints what holds a token in every way that package
// fmt has.
func TestResolverPrintsNoToken(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		const secret = "5ecre7-token"
		opts := discovery.ResolverOptions{Query: consul.QueryOptions{Token: secret}}
		r := discovery.NewResolver(agent.client.WithToken(secret), &opts)
		defer r.Close()
		instances2(t, r, "web")
		reg := agent.register(webTTL(), nil)
		watch := discovery.WatchOptions{Query: opts.Query}
		synctest.Wait()      // package fmt reads what the goroutines change
		type holder struct { // of a program
			resolver  *discovery.Resolver
			transport http.RoundTripper
		}
		for _, v := range []any{
			r, &r, opts, &opts, watch, &watch, reg, discovery.NewTransport(r, nil), []any{r, opts},
			holder{r, discovery.NewTransport(r, nil)}, discovery.WatchService(t.Context(), agent.client, "web", &watch),
		} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				if text := fmt.Sprintf(verb, v); strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
					t.Errorf("%s of %T: %s", verb, v, text)
				}
			}
		}
	})
}

// TestResolverExtremeOptions sets each number to what nobody would.
func TestResolverExtremeOptions(t *testing.T) {
	type options = discovery.ResolverOptions
	ints := map[string]func(*options) *int{
		"MinInstances": func(o *options) *int { return &o.MinInstances },
		"MaxQueries":   func(o *options) *int { return &o.MaxQueries },
		"Burst":        func(o *options) *int { return &o.Burst },
	}
	durations := map[string]func(*options) *time.Duration{
		"IdleTimeout": func(o *options) *time.Duration { return &o.IdleTimeout },
		"ExcludeFor":  func(o *options) *time.Duration { return &o.ExcludeFor },
		"MinInterval": func(o *options) *time.Duration { return &o.MinInterval },
		"MinBackoff":  func(o *options) *time.Duration { return &o.MinBackoff },
		"MaxBackoff":  func(o *options) *time.Duration { return &o.MaxBackoff },
		"WaitTime":    func(o *options) *time.Duration { return &o.Query.WaitTime },
	}
	check := func(name string, opts options) {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				agent.add("web", "a")
				agent.add("web", "b")
				r := agent.resolver(&opts)
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				go func() {
					for range r.Watch(ctx, "web") {
					}
				}()
				want(t, "first", instances2(t, r, "web"), "a b")
				time.Sleep(5 * time.Minute)
				agent.add("web", "c")
				time.Sleep(7 * time.Second)
				want(t, "after a change", instances(t, r, "web"), "a b c")
				if n := agent.wire.count("GET"); n > 400 {
					t.Errorf("%d queries in five minutes", n)
				}
				if errs := eventsOf[discovery.WatchErrorEvent](agent); len(errs) > 0 {
					t.Errorf("%d errors, such as %v", len(errs), errs[0].Err)
				}
				agent.Stop()
				time.Sleep(time.Second)
				for _, e := range eventsOf[discovery.WatchErrorEvent](agent) {
					if e.RetryIn < 0 {
						t.Errorf("retry in %s", e.RetryIn)
					}
				}
			})
		})
	}
	for name, field := range ints {
		for _, n := range []int{math.MinInt, -1, 0, 1, math.MaxInt - 1, math.MaxInt} {
			var opts options
			*field(&opts) = n
			check(fmt.Sprint(name, " ", n), opts)
		}
	}
	for name, field := range durations {
		for _, d := range []time.Duration{math.MinInt64, -1, 0, 1, math.MaxInt64 / 2, math.MaxInt64 - 1, math.MaxInt64} {
			var opts options
			*field(&opts) = d
			check(fmt.Sprint(name, " ", int64(d)), opts)
		}
	}
}

// TestResolverExcludesForGood excludes for as long as there is time.
func TestResolverExcludesForGood(t *testing.T) {
	for _, d := range []time.Duration{math.MaxInt64, math.MaxInt64 / 2} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			agent.add("web", "a")
			agent.add("web", "b")
			r := agent.resolver(&discovery.ResolverOptions{ExcludeFor: d, IdleTimeout: d})
			i, done, err := r.Acquire(t.Context(), "web")
			if err != nil {
				t.Fatal(err)
			}
			done(errors.New("boom"))
			time.Sleep(time.Hour)
			want(t, "picks it", picked(t, r)[i.ID], false)
		})
	}
}

// pickFunc is a balancer.
type pickFunc func(instances []discovery.Instance) int

func (f pickFunc) Pick(instances []discovery.Instance) int { return f(instances) }

// TestBadBalancers has balancers that are of no use.
func TestBadBalancers(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "a")
		agent.add("web", "b")
		for _, n := range []int{-1, 2, math.MinInt, math.MaxInt} {
			r := agent.resolver(&discovery.ResolverOptions{Balancer: func() discovery.Balancer {
				return pickFunc(func([]discovery.Instance) int { return n })
			}})
			wanted := fmt.Sprintf(`discovery: service "web": the balancer picked %d; want 0 to 1`, n)
			_, err := r.Pick(t.Context(), "web")
			want(t, "Pick", fmt.Sprint(err), wanted)
			_, _, err = r.Acquire(t.Context(), "web")
			want(t, "Acquire", fmt.Sprint(err), wanted)
			_, err = r.PickKey(t.Context(), "web", "k")
			want(t, "PickKey, which asks no balancer", err, nil)
			_, err = r.DialContext(t.Context(), "tcp", "web:80")
			want(t, "DialContext", fmt.Sprint(err), wanted)
			_, err = (&http.Client{Transport: discovery.NewTransport(r, nil)}).Get("http://web/")
			if err == nil || !strings.HasSuffix(err.Error(), wanted) {
				t.Errorf("request: %v", err)
			}
		}
		var none discovery.Balancer
		r := agent.resolver(&discovery.ResolverOptions{Balancer: func() discovery.Balancer { return none }})
		if _, err := r.Pick(t.Context(), "web"); err != nil {
			t.Errorf("nil balancer: %v", err)
		}

		// One that uses the resolver while it is made and while it picks, and panics.
		calls := 0
		r = agent.resolver(&discovery.ResolverOptions{Balancer: func() discovery.Balancer {
			r.State("web")
			r.Instances(t.Context(), "db")
			return pickFunc(func([]discovery.Instance) int {
				r.Instances(t.Context(), "web")
				if calls++; calls == 1 {
					panic("first call")
				}
				return 0
			})
		}})
		func() {
			defer func() { want(t, "panic", fmt.Sprint(recover()), "first call") }()
			r.Acquire(t.Context(), "web")
		}()
		i, done, err := r.Acquire(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		want(t, "load after a panic", i.Load(), 1)
		done(nil)
	})
}

// TestResolverRefusesBadInput does not wait for what no agent can be asked.
func TestResolverRefusesBadInput(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		for _, test := range []struct {
			service string
			query   consul.QueryOptions
			want    string
		}{
			{"", consul.QueryOptions{}, "discovery: service is empty"},
			{"..", consul.QueryOptions{}, `discovery: service "..": the element . or .. is not allowed in a path`},
			{"a/./b", consul.QueryOptions{}, `discovery: service "a/./b": the element . or .. is not allowed in a path`},
			{"web", consul.QueryOptions{MaxAge: -1}, "discovery: ResolverOptions.Query.MaxAge is -1ns; want 0 or more"},
			{"web", consul.QueryOptions{StaleIfError: -time.Second}, "discovery: ResolverOptions.Query.StaleIfError is -1s; want 0 or more"},
		} {
			r := agent.resolver(&discovery.ResolverOptions{Query: test.query})
			start := time.Now()
			_, err := r.Pick(within(t, time.Hour), test.service)
			want(t, "error", fmt.Sprint(err), test.want)
			want(t, "watch", fmt.Sprint(firstError(r.Watch(t.Context(), test.service))), test.want)
			want(t, "waited", time.Since(start), 0)
		}
		want(t, "requests", agent.wire.count(""), 0)
	})
}

// TestResolverRate sets how often a service that never stops changing is seen.
func TestResolverRate(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		r := agent.resolver(&discovery.ResolverOptions{Burst: 3, MinInterval: 20 * time.Second, MinBackoff: time.Hour, MaxBackoff: time.Hour})
		instances2(t, r, "web")
		for n := range 90 {
			agent.add("web", fmt.Sprint("web-", n))
			time.Sleep(time.Second)
		}
		want(t, "queries in 90 s", agent.wire.count("GET /v1/health/service/web"), 3+4)
	})
}

// TestResolverDefaultBalancer does not pick what has no weight.
func TestResolverDefaultBalancer(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "passing")
		agent.add("web", "critical")
		agent.SetCheckStatus("service:critical", consul.HealthCritical, "")
		r := agent.resolver(&discovery.ResolverOptions{AnyStatus: true})
		want(t, "instances", instances2(t, r, "web"), "critical passing")
		want(t, "picked", fmt.Sprint(picked(t, r)), "map[passing:true]")
	})
}

// TestResolverConnectProxies finds the proxies of a service.
func TestResolverConnectProxies(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "web-1")
		agent.add("web-sidecar-proxy", "web-1-proxy", func(r *consul.AgentServiceRegistration) {
			r.Kind, r.Proxy = "connect-proxy", json.RawMessage(`{"DestinationServiceName": "web"}`)
		})
		want(t, "through the mesh", instances2(t, agent.resolver(&discovery.ResolverOptions{Connect: true}), "web"), "web-1-proxy")
		want(t, "directly", instances2(t, agent.resolver(nil), "web"), "web-1")
	})
}
