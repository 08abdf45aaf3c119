package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

// gateway passes a request for /NAME/path on to a healthy instance of the service NAME,
// as a request for /path. Only services that have a route are looked up: clients cannot
// make it follow whatever they name.
type gateway struct {
	transport http.RoundTripper
	logger    *slog.Logger
	routes    atomic.Pointer[map[string]http.Handler] // by the name; nil until they are known
}

// newGateway returns a gateway to the instances that the resolver finds.
func newGateway(resolver *discovery.Resolver, logger *slog.Logger) *gateway {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.Proxy = nil
	base.MaxIdleConnsPerHost = 100                // many requests go to few hosts
	base.ResponseHeaderTimeout = 30 * time.Second // an instance that hangs is left out for a while
	return &gateway{transport: discovery.NewTransport(resolver, base), logger: logger}
}

// ServeHTTP implements [http.Handler].
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	routes := g.routes.Load()
	if routes == nil {
		http.Error(w, "the services are not known yet", http.StatusServiceUnavailable)
		return
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	route := (*routes)[name]
	if route == nil {
		http.Error(w, "no such service", http.StatusNotFound)
		return
	}
	route.ServeHTTP(w, r)
}

// setRoutes makes these services the ones that the gateway serves.
func (g *gateway) setRoutes(names []string) {
	routes := make(map[string]http.Handler, len(names))
	for _, name := range names {
		routes[name] = g.route(name)
	}
	g.routes.Store(&routes)
}

// route returns the proxy for one service. The transport replaces the host, which is the
// service, by the address of an instance, and tries another one if it cannot connect.
func (g *gateway) route(name string) http.Handler {
	return http.StripPrefix("/"+name, &httputil.ReverseProxy{
		Transport: g.transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: name})
			r.SetXForwarded()
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			switch {
			case r.Context().Err() != nil: // the client has gone
			case errors.Is(err, discovery.ErrNoInstances):
				http.Error(w, "no healthy instance of "+name, http.StatusServiceUnavailable)
			default:
				g.logger.Warn("request failed", "service", name, "error", err)
				http.Error(w, "bad gateway", http.StatusBadGateway)
			}
		},
	})
}

// follow has a route for every service with the tag, until ctx ends. After an error the
// routes stay as they are, and the watch goes on.
func (g *gateway) follow(ctx context.Context, client *consul.Client, tag string) {
	options := &discovery.WatchOptions{Name: "services", Logger: g.logger}
	var known []string
	for services, err := range discovery.Watch(ctx, client.Catalog().Services, options) {
		if err != nil {
			continue // it is logged
		}
		var names []string
		for name, tags := range services {
			if slices.Contains(tags, tag) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		if g.routes.Load() == nil || !slices.Equal(names, known) { // other services change, too
			g.logger.Info("routes", "services", names)
			g.setRoutes(names)
			known = names
		}
	}
}
