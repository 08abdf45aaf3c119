package consulmock

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/lictor-go/consul/consulmock/internal/state"
	"github.com/lictor-go/consul/internal/httplog"
)

// This file holds the page at /ui/: what the servers have and the last requests,
// rendered here, and fetched again by a few lines of script whenever a second has
// passed. Requests for the page are not among those that [Server.Requests] returns.

//go:embed ui.html
var uiSource string

// uiScript is the script in the page. It is apart so that the page can forbid
// every other one.
//
//go:embed ui.js
var uiScript string

var uiTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"script": func() template.JS { return template.JS(uiScript) },
}).Parse(uiSource))

// uiPolicy allows the page its own style and script, and to fetch from its
// server, and nothing else.
var uiPolicy = func() string {
	sum := sha256.Sum256([]byte(uiScript))
	return "default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; script-src 'sha256-" +
		base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

// What the page shows at the most.
const (
	uiRequests  = 50
	uiLeftovers = 50
)

// isUI reports whether the path is one of the page's.
func isUI(path string) bool { return path == "/ui" || strings.HasPrefix(path, "/ui/") }

// serveUI serves the paths below /ui/.
func (s *Server) serveUI(w http.ResponseWriter, r *http.Request) {
	part := ""
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method "+r.Method+" not allowed", http.StatusMethodNotAllowed)
		return
	case r.URL.Path == "/ui/":
		part = "page"
	case r.URL.Path == "/ui/live":
		part = "live"
	default:
		http.Redirect(w, r, "/ui/", http.StatusFound) // also links to pages of the real one
		return
	}
	var page bytes.Buffer
	if err := uiTemplate.ExecuteTemplate(&page, part, s.uiState()); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", uiPolicy)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.Write(page.Bytes())
}

// uiState is what the page shows.
type uiState struct {
	Node, Version, Datacenter string
	Index                     uint64
	Replay                    string   // the recording, if the server replays one
	Leftovers                 []string // the first of them
	MoreLeftovers             int
	Services                  []uiService
	Nodes                     []uiNode
	Keys                      []uiKey // the first of them
	MoreKeys                  int
	Sessions                  []uiSession
	Events                    []uiEvent // the last of them, newest first
	Requests                  []uiRequest
}

type uiService struct {
	Name      string
	Instances []uiInstance
}

type uiInstance struct {
	ID, Node, Address string
	Tags              []string
	Meta              []string
	Status            string // the worst of its checks and of those of its node
	Checks            []uiCheck
}

type uiNode struct {
	Name, Address, Status string
	Checks                []uiCheck
}

type uiCheck struct{ ID, Name, Type, Status, Output string }

type uiRequest struct{ Time, Method, URL, Status, Class string }

func (s *Server) uiState() *uiState {
	st := &uiState{Requests: s.log.newest(uiRequests)}
	if s.replay != nil {
		left := s.replay.leftovers()
		shown := min(len(left), uiLeftovers)
		st.Replay, st.Leftovers, st.MoreLeftovers = s.replay.file, left[:shown], len(left)-shown
		return st
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Node, st.Version, st.Datacenter = s.config.agent.Node, s.config.agent.Version.String(), s.config.agent.Datacenter
	st.Index = s.agent.Store.Index
	byName := map[string][]uiInstance{}
	for _, n := range state.Sorted(s.agent.Store.Nodes) {
		own := uiChecks(n.NodeChecks)
		st.Nodes = append(st.Nodes, uiNode{n.Node, n.Address, worstStatus(own), own})
		for _, svc := range state.Sorted(n.Services) {
			checks := uiChecks(svc.Checks)
			byName[svc.Name] = append(byName[svc.Name], uiInstance{
				ID: svc.ID, Node: n.Node, Address: uiAddress(n, svc), Tags: svc.Tags, Meta: uiMeta(svc.Meta),
				Status: worstStatus(append(slices.Clone(own), checks...)), Checks: checks,
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		st.Services = append(st.Services, uiService{name, byName[name]})
	}
	st.addCoordination(s.agent)
	return st
}

func uiChecks(checks map[string]*state.Check) []uiCheck {
	var list []uiCheck
	for _, c := range state.Sorted(checks) {
		output := c.Output
		if output == "" {
			output = c.Notes
		}
		list = append(list, uiCheck{c.CheckID, c.Name, c.Type, c.Status, output})
	}
	return list
}

// worstStatus returns the status that the checks have together.
func worstStatus(checks []uiCheck) string {
	worst := "passing"
	for _, c := range checks {
		switch {
		case c.Type == "maintenance":
			return "maintenance"
		case c.Status == "passing":
		case c.Status == "warning" && worst == "passing":
			worst = "warning"
		case c.Status != "warning":
			worst = "critical"
		}
	}
	return worst
}

func uiAddress(n *state.Node, s *state.Service) string {
	host := s.Address
	switch {
	case s.SocketPath != "":
		return s.SocketPath
	case host == "":
		host = n.Address
	}
	if s.Port == 0 {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(s.Port))
}

func uiMeta(meta map[string]string) []string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(meta)) {
		list = append(list, k+"="+meta[k])
	}
	return list
}

// uiURL returns the address of a request for people: with its parameters
// unescaped, and without its token.
func uiURL(r *Request) string {
	address := httplog.URL(r.Path, r.Query)
	path, query, ok := strings.Cut(address, "?")
	if !ok {
		return address
	}
	text, err := url.QueryUnescape(query)
	if err != nil {
		return address
	}
	return path + "?" + text
}
