package benchmarks

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/lictor-go/consul"
)

func newServer(b testing.TB, body []byte) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Consul-Index", "7")
		w.Write(body)
	}))
	b.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func BenchmarkHealthService(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000, 10000} {
		body := Instances(n)
		addr := newServer(b, body)
		b.Run(fmt.Sprintf("ours/%d", n), func(b *testing.B) {
			c, err := consul.NewClient(consul.Config{Address: addr})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				got, _, err := c.Health().Service(context.Background(), "web", nil)
				if err != nil || len(got) != n {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("api/%d", n), func(b *testing.B) {
			c, err := api.NewClient(&api.Config{Address: addr})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				got, _, err := c.Health().Service("web", "", false, nil)
				if err != nil || len(got) != n {
					b.Fatal(err)
				}
			}
		})
	}
}
