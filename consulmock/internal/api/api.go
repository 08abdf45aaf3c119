// Package api responds to the requests of Consul's HTTP API. A file has the endpoints
// that its name begins like: agent_checks.go those below /v1/agent/check. The list of
// all of them is in routes.go.
package api

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/lictor-go/consul/consulmock/internal/agent"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// Config tells how an agent responds to requests.
type Config struct {
	Compact     bool          // JSON is not indented, as outside development mode
	Streaming   bool          // by the streaming backend, where 1.21.4 does
	Translate   bool          // reports that addresses are translated
	DefaultWait time.Duration // of blocking queries
	MaxWait     time.Duration
	MaxValue    int64 // bytes of the value of a key
	MaxTxn      int64 // bytes of the body of a transaction
	ListPolicy  bool  // lists of keys need the permission to list

	MinSessionTTL time.Duration
}

// API is the HTTP API of an agent.
type API struct {
	config Config
	of     *agent.Config
	lock   sync.Locker         // of the agent
	agent  func() *agent.Agent // returns the present one; the lock must be held
	table  table
}

// Route is an endpoint: its methods, a path, and what serves it. A path that ends
// with a slash is followed by a name.
type Route struct {
	Method string // or several, separated by commas; empty means every method
	Path   string
	answer handler
	since  release.Version
}

// table finds routes by their paths.
type table map[string]*Route

// find returns the route of a path, and the name that follows the route's path.
// The route with the longest path wins.
func (t table) find(path string) (rt *Route, name string) {
	if rt := t[path]; rt != nil {
		return rt, ""
	}
	for i := strings.LastIndexByte(path, '/'); i > 0; i = strings.LastIndexByte(path[:i], '/') {
		if rt := t[path[:i+1]]; rt != nil {
			return rt, path[i+1:]
		}
	}
	return nil, ""
}

// Serve finds the endpoint of a request, which arrived in a run of the agent, and
// responds to it.
func (api *API) Serve(run agent.Run, w http.ResponseWriter, r *http.Request) {
	v := api.of.Version
	if strings.ContainsFunc(r.URL.Path, func(c rune) bool { return !unicode.IsPrint(c) }) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if to := api.redirect(r); to != "" {
		status := http.StatusTemporaryRedirect
		if v == release.V1_8_7 {
			status = http.StatusMovedPermanently
		}
		http.Redirect(w, r, to, status)
		return
	}
	rt, name := api.table.find(r.URL.Path)
	if v == release.V1_21_4 && hasEscapedSlash(r.URL, strings.TrimSuffix(r.URL.Path, name)) {
		rt = nil
	}
	switch {
	case rt != nil:
		q := &request{api: api, run: run, config: api.of, w: w, r: r, parameters: parameters{v: v, header: r.Header}, name: name}
		q.serve(rt)
	case r.URL.Path == "/":
		http.Redirect(w, r, "/ui/", http.StatusMovedPermanently)
	default:
		notFound(w, r, v)
	}
}

// redirect returns where a request with an unclean path is sent, or "". As the
// HTTP servers that the agents are built with do, 1.8.7 cleans the path after
// undoing the escapes, so that a name with %2F%2F is not reached, and 1.21.4
// before.
func (api *API) redirect(r *http.Request) string {
	if r.Method == http.MethodConnect || r.URL.Path == "*" {
		return ""
	}
	have := r.URL.Path
	if api.of.Version == release.V1_21_4 {
		have = r.URL.EscapedPath()
	}
	want := cleanPath(have)
	if api.table[want] == nil && api.table[want+"/"] != nil || want == "/ui" {
		want += "/"
	}
	if want == have {
		return ""
	}
	if api.of.Version == release.V1_21_4 {
		if unescaped, err := url.PathUnescape(want); err == nil {
			want = unescaped
		}
	}
	return (&url.URL{Path: want, RawQuery: r.URL.RawQuery}).String()
}

// hasEscapedSlash reports whether one of the slashes of the path's fixed part is
// escaped. Names may have such slashes, but 1.21.4 does not know such a path.
func hasEscapedSlash(u *url.URL, fixed string) bool {
	n := strings.Count(fixed, "/")
	parts := strings.SplitN(u.EscapedPath(), "/", n+1)
	return len(parts) <= n || strings.Contains(strings.ToUpper(strings.Join(parts[:n], "/")), "%2F")
}

// notFound responds for paths that an agent does not have.
func notFound(w http.ResponseWriter, r *http.Request, v release.Version) {
	if v == release.V1_8_7 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	text := "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n"
	if strings.HasPrefix(r.URL.Path, "/v1/") {
		text = "Invalid URL path: not a recognized HTTP API endpoint\n"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	w.Write([]byte(text))
}

// cleanPath removes empty, "." and ".." elements, but keeps a final slash.
func cleanPath(p string) string {
	if p == "" || p[0] != '/' {
		p = "/" + p
	}
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// Seed performs a request with a token that may do everything, on an agent that may
// have stopped. The path is that of a route, and the name is what follows it.
func (api *API) Seed(method, path, name string, params url.Values, body []byte) error {
	q := &request{
		api: api, config: api.of, w: unread{}, r: &http.Request{Method: method, URL: &url.URL{}, Header: http.Header{}, ContentLength: int64(len(body))},
		parameters: parameters{v: api.of.Version, query: params}, name: name, body: body, seeding: true,
	}
	_, err := q.locked(func(q *request) (any, error) {
		defer q.a.UpdateDueAliases() // so that it is in effect when the method returns
		return api.table[path].answer(q)
	})
	return err
}

// unread is a writer for responses that nobody reads.
type unread struct{}

func (unread) Header() http.Header { return http.Header{} }

func (unread) Write(p []byte) (int, error) { return len(p), nil }

func (unread) WriteHeader(int) {}
