package interop

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	contrib "github.com/go-kratos/kratos/contrib/registry/consul/v2"
	"github.com/go-kratos/kratos/v2/log"
	"github.com/go-kratos/kratos/v2/registry"
	"github.com/hashicorp/consul/api"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/integrations/kratos"
	"github.com/lictor-go/consul/integrations/kratos/kratosv2"
)

const patience = time.Minute

func TestMain(m *testing.M) {
	log.SetLogger(log.NewFilter(log.DefaultLogger, log.FilterLevel(log.LevelFatal)))
	if runServer() {
		return
	}
	m.Run()
}

// adapter is a registry of kratos v2 for Consul.
type adapter interface {
	registry.Registrar
	registry.Discovery
}

// options are those that both adapters have.
type options struct {
	noTCPChecks    bool
	allDatacenters bool
	interval       time.Duration // 0 means the default
}

// adapters make an adapter for the agent behind a transport.
var adapters = map[string]func(http.RoundTripper, string, options) (adapter, error){
	"ours": func(transport http.RoundTripper, address string, o options) (adapter, error) {
		c, err := consul.NewClient(consul.Config{Address: address, Transport: transport})
		if err != nil {
			return nil, err
		}
		return kratosv2.New(c, &kratos.Options{Interval: o.interval, NoTCPChecks: o.noTCPChecks, AllDatacenters: o.allDatacenters}), nil
	},
	"theirs": func(transport http.RoundTripper, address string, o options) (adapter, error) {
		c, err := api.NewClient(&api.Config{Address: address, HttpClient: &http.Client{Transport: transport}})
		if err != nil {
			return nil, err
		}
		opts := []contrib.Option{contrib.WithHealthCheck(!o.noTCPChecks)}
		if o.interval > 0 {
			opts = append(opts, contrib.WithHealthCheckInterval(int(o.interval.Seconds())))
		}
		if o.allDatacenters {
			opts = append(opts, contrib.WithDatacenter(contrib.MultiDatacenter))
		}
		return contrib.New(c, opts...), nil
	},
}

// newAdapter returns one of the adapters, closed when the test ends if it can be.
func newAdapter(t *testing.T, name string, transport http.RoundTripper, address string, o options) adapter {
	t.Helper()
	a, err := adapters[name](transport, address, o)
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := a.(io.Closer); ok {
		t.Cleanup(func() { c.Close() })
	}
	return a
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
