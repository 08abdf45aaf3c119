//go:build go1.25

package discovery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

// evil is an agent that answers each request as it likes.
type evil func(r *http.Request) (status int, header map[string]string, body io.Reader)

func (e evil) RoundTrip(r *http.Request) (*http.Response, error) {
	status, header, body := e(r)
	resp := &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: io.NopCloser(body), ContentLength: -1, Request: r}
	for name, value := range header {
		resp.Header.Set(name, value)
	}
	return resp, nil
}

func (e evil) client(t *testing.T, cfg consul.Config) *consul.Client {
	t.Helper()
	cfg.Transport = e
	c, err := consul.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// crowd is an answer of n instances, which is made as it is read.
type crowd struct {
	n, made int
	read    *int // bytes
	rest    []byte
}

func (c *crowd) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		separator := ","
		switch c.made++; {
		case c.made > c.n+1:
			return 0, io.EOF
		case c.made > c.n:
			c.rest = []byte("]")
		case c.made == 1:
			separator = "["
			fallthrough
		default:
			c.rest = fmt.Appendf(nil, `%s{"Node":{"Node":"n"},"Service":{"ID":"web-%d","Service":"web","Port":80},"Checks":[]}`, separator, c.made)
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	*c.read += n
	return n, nil
}

// TestMillionInstances follows a service that suddenly has a million instances:
// the bound on answers holds, and the instances from before stay in use.
func TestMillionInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 64 << 10
		queries, read := 0, 0
		c := evil(func(r *http.Request) (int, map[string]string, io.Reader) {
			if queries++; queries == 1 {
				return 200, map[string]string{"X-Consul-Index": "7"}, strings.NewReader(`[{"Node":{"Node":"n"},"Service":{"ID":"web-0","Service":"web"}}]`)
			}
			return 200, map[string]string{"X-Consul-Index": "8"}, &crowd{n: 1e6, read: &read}
		}).client(t, consul.Config{MaxResponseBytes: limit})
		r := discovery.NewResolver(c, nil)
		defer r.Close()
		found, err := r.Instances(t.Context(), "web")
		want(t, "instances", ids(found), "web-0")
		want(t, "error", err, nil)
		time.Sleep(10 * time.Minute)
		state, _ := r.State("web")
		want(t, "instances afterwards", ids(state.Instances), "web-0")
		if !errors.Is(state.Err, consul.ErrResponseTooLarge) {
			t.Errorf("error %v", state.Err)
		}
		if queries < 60 || queries > 600 {
			t.Errorf("%d queries in ten minutes", queries)
		}
		if each := read / (queries - 1); each < limit || each > 2*limit {
			t.Errorf("%d bytes read of each answer", each)
		}
	})
}

// TestHostileAgent keeps a service registered with an agent that answers at once,
// with whatever comes to its mind, and watches another one. What it says must not
// make the program ask it too often, nor stop asking.
func TestHostileAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		pick := func(list ...string) string { return list[random.IntN(len(list))] }
		var mu sync.Mutex
		asked := map[string]int{}
		c := evil(func(r *http.Request) (int, map[string]string, io.Reader) {
			mu.Lock()
			defer mu.Unlock()
			asked[r.Method]++
			header := map[string]string{
				"X-Consul-Index":   pick("0", "1", "2", "18446744073709551615", "-1", "x", ""),
				"X-Consul-Reason":  pick("", "Unknown check ID \"service:web\""),
				"Content-Type":     pick("", "application/json", "text/html"),
				"X-Consul-Unknown": pick("", strings.Repeat("x", 1000)),
			}
			body := pick("[]", "", "null", "{}", "[null]", `[{"Service":null,"Node":null,"Checks":[null]}]`, "[[[[[[", `"`, strings.Repeat("[", 1000),
				`[{"Service":{"ID":"a","Weights":{"Passing":9223372036854775807}}}]`, fmt.Sprintf(`[{"Service":{"ID":"%d"}}]`, random.Int()))
			status := 200
			if random.IntN(4) == 0 {
				status = []int{400, 403, 404, 429, 500, 503}[random.IntN(6)]
			}
			if random.IntN(100) == 0 {
				header["Retry-After"] = pick("0", "-1", "1", "2000000000", "Fri, 31 Dec 9999 23:59:59 GMT")
			}
			return status, header, strings.NewReader(body)
		}).client(t, consul.Config{Token: "secret"})

		reg, err := discovery.Register(t.Context(), c, &consul.AgentServiceRegistration{
			Name: "web", Checks: []*consul.AgentServiceCheck{{TTL: 15 * time.Second}, {TCP: "127.0.0.1:1", Interval: time.Second}},
		}, &discovery.RegisterOptions{Background: true})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for range discovery.WatchService(ctx, c, "db", nil) {
			}
		}()
		r := discovery.NewResolver(c, nil)
		for hour := range 3 {
			go r.Pick(ctx, "db")
			time.Sleep(time.Hour)
			mu.Lock()
			reads, writes := asked["GET"], asked["PUT"]
			clear(asked)
			mu.Unlock()
			// Two watches ask once a second at most; a registration looks and beats
			// every few seconds.
			if reads < 10 || reads > 2*3600+3600/5 {
				t.Errorf("hour %d: %d reads", hour, reads)
			}
			if writes < 3 || writes > 3600 {
				t.Errorf("hour %d: %d writes", hour, writes)
			}
		}
		cancel()
		r.Close()
		reg.Close() // a bubble fails a test that leaves a goroutine behind
	})
}

// TestAbsurdWeights lets balancers pick among weights that overflow.
func TestAbsurdWeights(t *testing.T) {
	balancers := []func() discovery.Balancer{discovery.Random, discovery.RoundRobin, discovery.WeightedRandom, discovery.LeastLoaded}
	for _, weights := range [][]int{{math.MaxInt, math.MaxInt}, {math.MaxInt, 1, math.MaxInt}, {math.MinInt, math.MinInt}, {-1, 0}, {math.MinInt, math.MaxInt, 1}} {
		var list []discovery.Instance
		for n, w := range weights {
			list = append(list, discovery.InstanceOf(&consul.ServiceEntry{Service: &consul.AgentService{
				ID: fmt.Sprint(n), Weights: consul.AgentWeights{Passing: w, Warning: w},
			}}))
		}
		for n, balancer := range balancers {
			b := balancer()
			for range 1000 {
				if i := b.Pick(list); i < 0 || i >= len(list) {
					t.Fatalf("balancer %d picks %d of %v", n, i, weights)
				}
			}
		}
	}
}

// TestSecretsAreNotLogged lets the agent repeat the token in all that it says.
func TestSecretsAreNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const secret = "5ecre7-token"
		var logged bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&logged, nil))
		c := evil(func(r *http.Request) (int, map[string]string, io.Reader) {
			said := "the token " + r.Header.Get("X-Consul-Token") + " is bad"
			return 403, map[string]string{"X-Consul-Reason": said, "Location": said}, strings.NewReader(said)
		}).client(t, consul.Config{Token: secret})
		reg, err := discovery.Register(t.Context(), c, &consul.AgentServiceRegistration{Name: "web"},
			&discovery.RegisterOptions{Background: true, Logger: logger})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		reg.Close()
		for _, err := range discovery.WatchService(t.Context(), c, "db", &discovery.WatchOptions{Logger: logger}) {
			fmt.Fprintln(&logged, err)
			break
		}
		if text := logged.String(); !strings.Contains(text, "[redacted]") || strings.Contains(text, secret) {
			t.Errorf("logged:\n%s", text)
		}
	})
}
