package consulmock

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// route is an endpoint: a method, a path, and what answers it. A path that ends
// with a slash is followed by a name.
type route struct {
	method string
	path   string
	answer func(q *request) (any, error)
}

// routes is every endpoint that the fake has.
var routes = []route{
	{"PUT", "/v1/agent/service/register", registerService},
	{"PUT", "/v1/agent/service/deregister/", deregisterService},
	{"PUT", "/v1/agent/check/pass/", passCheck},
	{"PUT", "/v1/agent/check/warn/", warnCheck},
	{"PUT", "/v1/agent/check/fail/", failCheck},
	{"GET", "/v1/health/service/", healthService},
}

var errGone = errors.New("the client has gone")

// httpError is an answer that is not a success.
type httpError struct {
	status int
	text   string
}

// Error implements error.
func (e *httpError) Error() string { return e.text }

// request is one request on its way through the agent.
type request struct {
	s     *Server
	a     *agent
	w     http.ResponseWriter
	r     *http.Request
	query url.Values
	name  string // what follows the path of the route
	body  []byte
}

// route finds the endpoint of a request and answers it.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	for _, route := range routes {
		name, ok := route.match(r.URL.Path)
		if !ok {
			continue
		}
		q := &request{s: s, w: w, r: r, query: r.URL.Query(), name: name}
		q.serve(route)
		return
	}
	http.NotFound(w, r)
}

func (rt route) match(path string) (name string, ok bool) {
	if strings.HasSuffix(rt.path, "/") {
		return strings.CutPrefix(path, rt.path)
	}
	return "", path == rt.path
}
