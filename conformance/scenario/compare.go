package scenario

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/lictor-go/consul/conformance/recording"
)

// difference is one way in which an answer is not as recorded.
type difference struct {
	entry    *recording.Entry
	field    string // status, error, timing, index, format, "header X" or "body path"
	recorded string
	got      string
}

func (d difference) String() string {
	return fmt.Sprintf("%s %s %s: %s: recorded %s, got %s", d.entry.ID, d.entry.Request.Method, shorten(d.entry.Request.Target(), 100), d.field, shorten(d.recorded, 300), shorten(d.got, 300))
}

func shorten(s string, n int) string {
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}

// comparison compares the answers of one scenario with the recorded ones.
type comparison struct {
	rec     *recording.Recording
	answers map[string]*answer
	ranks   *ranks
	tolerance
	names    *names
	ports    map[string]bool  // that the agents of the recording listen on
	starting map[string]bool  // agents that have not answered since they started
	entry    *recording.Entry // that is being compared
	found    []difference
}

// tolerance is what does not count as a difference.
type tolerance struct {
	slack     time.Duration // how late an answer may be
	noWaiting bool          // a wait that times out may take any time
	busy      bool          // a wait that times out may take half as long, and an answer without a wait some time
	arrival   time.Duration // how long nothing is sent that may end a wait that has begun
	anyError  bool          // one way to fail is as good as another

	// starts are the last indexes before each era of the recording, in the recording and
	// in the answers. They are found in what was created if they are not given.
	starts [][2]uint64
}

// compare returns how answers differ from those of the recording.
func compare(rec *recording.Recording, answers map[string]*answer, tolerable tolerance) []difference {
	c := &comparison{rec: rec, answers: answers, tolerance: tolerable, names: newNames(), ports: ownPorts(rec), starting: map[string]bool{}}
	for n, era := range c.eras() {
		c.ranks = &ranks{}
		if n < len(c.starts) {
			c.ranks.recordedStart, c.ranks.gotStart = c.starts[n][0], c.starts[n][1]
		} else {
			c.ranks.recordedStart, c.ranks.gotStart = c.beforeScenario(era)
		}
		for _, s := range era {
			switch {
			case s.event != nil && s.event.Event == "start":
				c.starting[s.event.Agent] = true
			case s.ends:
				c.one(s.entry, answers[s.entry.ID])
			}
		}
	}
	return c.found
}

// eras cuts a conversation where a dev agent starts again, and has forgotten
// everything.
func (c *comparison) eras() [][]step {
	var eras [][]step
	launched := map[string]bool{}
	for _, s := range steps(c.rec) {
		again := s.event != nil && s.event.Event == "start" && launched[s.event.Agent] && c.role(s.event.Agent) == "dev"
		if len(eras) == 0 || again {
			eras = append(eras, nil)
		}
		if s.event != nil && s.event.Event == "start" {
			launched[s.event.Agent] = true
		}
		eras[len(eras)-1] = append(eras[len(eras)-1], s)
	}
	return eras
}

// ownPorts are the ports that the recorder gave agents: their HTTP port and those
// that follow it.
func ownPorts(rec *recording.Recording) map[string]bool {
	ports := map[string]bool{}
	for _, a := range rec.Agents {
		_, port, _ := strings.Cut(a.Addr, ":")
		base, err := strconv.Atoi(port)
		for i := 0; err == nil && i < 7; i++ {
			ports[strconv.Itoa(base+i)] = true
		}
	}
	return ports
}

func (c *comparison) role(agent string) string {
	for _, a := range c.rec.Agents {
		if a.Name == agent {
			return a.Role
		}
	}
	return ""
}

func (c *comparison) differ(field string, recorded, got any) {
	c.found = append(c.found, difference{c.entry, field, fmt.Sprint(recorded), fmt.Sprint(got)})
}

func (c *comparison) one(e *recording.Entry, a *answer) {
	c.entry = e
	want := recordedError(e.Error)
	if c.starting[e.Agent] && want == "refused" {
		return // how soon an agent that starts listens is a matter of chance
	}
	c.starting[e.Agent] = false
	if want != a.err && !(c.anyError && want != "" && a.err != "") {
		c.differ("error", quoteEmpty(want), quoteEmpty(a.err))
		return
	}
	if a.err != "" {
		return
	}
	c.timing(e, a)
	if e.Response.Status != a.status {
		c.differ("status", fmt.Sprintf("%d %q", e.Response.Status, e.Response.Body()), fmt.Sprintf("%d %q", a.status, a.body))
		return
	}
	c.headers(e.Response.Header(), a.header)
	if !e.Response.Content.Partial {
		c.body(e, a)
	}
}

// recordedError returns the class of a recorded failure.
func recordedError(err string) string {
	switch err {
	case "connection refused":
		return "refused"
	case "EOF", "unexpected EOF", "connection reset by peer", "broken pipe":
		return "closed"
	}
	return err
}

func quoteEmpty(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// ignoredHeaders differ from one answer to the next, or say how the connection
// carries it.
var ignoredHeaders = map[string]bool{"Date": true, "Content-Length": true, "Transfer-Encoding": true}

func (c *comparison) headers(recorded, got http.Header) {
	all := map[string]bool{}
	for name := range recorded {
		all[name] = true
	}
	for name := range got {
		all[name] = true
	}
	sorted := make([]string, 0, len(all))
	for name := range all {
		sorted = append(sorted, name)
	}
	sort.Strings(sorted)
	for _, name := range sorted {
		r, g := strings.Join(recorded[name], ", "), strings.Join(got[name], ", ")
		same := r == g
		switch {
		case ignoredHeaders[name]:
			continue
		case recorded[name] == nil || got[name] == nil:
			same = false
		case name == "X-Consul-Index" && c.entry.Request.Path() == "/v1/event/list": // a hash
			same = c.names.same(r, g)
		case name == "X-Consul-Index":
			c.index(name, r, g)
			continue
		case name == "X-Consul-Contenthash":
			same = c.names.same(r, g)
		case name == "X-Consul-Lastcontact": // milliseconds
			same = (r == "0") == (g == "0")
		case name == "Age": // seconds
			same = true
		default:
			same = c.names.sameText(r, g)
		}
		if !same {
			c.differ("header "+name, absent(recorded[name]), absent(got[name]))
		}
	}
}

func absent(values []string) string {
	if values == nil {
		return "none"
	}
	return strings.Join(values, ", ")
}

// index compares two indexes by their relation to earlier ones.
func (c *comparison) index(field, recorded, got string) {
	var r, g uint64
	if _, err := fmt.Sscan(recorded+" "+got, &r, &g); err != nil {
		c.differ(field, recorded, got)
		return
	}
	if problem, ok := c.ranks.add(r, g); !ok {
		c.differ(field, recorded, got+", "+problem)
	}
}

// indexesInText are the indexes in the reason why a transaction was refused.
var indexesInText = regexp.MustCompile(`(current modify index )([0-9]+)( != )([0-9]+)`)

// text compares two texts in a body, in which names and indexes may be others.
func (c *comparison) text(path, recorded, got string) bool {
	r, g := indexesInText.FindStringSubmatch(recorded), indexesInText.FindStringSubmatch(got)
	if r != nil && g != nil {
		c.index("body "+path, r[2], g[2])
		c.index("body "+path, r[4], g[4])
		recorded, got = indexesInText.ReplaceAllString(recorded, "$1$3"), indexesInText.ReplaceAllString(got, "$1$3")
	}
	return c.names.sameText(recorded, got)
}

func (c *comparison) body(e *recording.Entry, a *answer) {
	recorded, got := e.Response.Body(), a.body
	if !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") || !json.Valid(recorded) || !json.Valid(got) {
		if !c.names.sameText(string(recorded), string(got)) {
			c.differ("body", fmt.Sprintf("%q", recorded), fmt.Sprintf("%q", got))
		}
		return
	}
	if r, g := format(recorded), format(got); r != g {
		c.differ("format", r, g)
	}
	path := e.Request.Path()
	if unescaped, err := url.PathUnescape(path); err == nil {
		path = unescaped
	}
	c.value(path, "", normal(path, "", parse(recorded)), normal(path, "", parse(got)))
}

// format says how JSON is laid out.
func format(data []byte) string {
	layout := "compact"
	if bytes.Contains(data, []byte("\n    ")) {
		layout = "indented"
	} else if v := strings.TrimSpace(string(data)); v == "[]" || v == "{}" || v[0] != '[' && v[0] != '{' {
		layout = "no layout"
	}
	if bytes.HasSuffix(data, []byte("\n")) {
		layout += " with a newline"
	}
	return layout
}

func parse(data []byte) any {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return string(data)
	}
	return v
}

// value compares two JSON values at a place in the body.
func (c *comparison) value(endpoint, path string, recorded, got any) {
	if kind(recorded) != kind(got) {
		c.differ("body "+path, encode(recorded), encode(got))
		return
	}
	if isLoose(endpoint, path) {
		return
	}
	switch r := recorded.(type) {
	case map[string]any:
		c.object(endpoint, path, r, got.(map[string]any))
	case []any:
		g := got.([]any)
		if len(r) != len(g) {
			c.differ("body "+path, fmt.Sprintf("%d elements: %s", len(r), encode(r)), fmt.Sprintf("%d elements: %s", len(g), encode(g)))
			return
		}
		for i := range r {
			c.value(endpoint, path+"[]", r[i], g[i])
		}
	case string:
		same := c.ports[r] && c.names.same(r, got.(string)) || c.text(path, r, got.(string))
		if strings.HasSuffix(path, "ContentHash") {
			same = c.names.same(r, got.(string))
		}
		if !same {
			c.differ("body "+path, encode(r), encode(got))
		}
	case json.Number:
		if strings.HasSuffix(path, "CreateIndex") || strings.HasSuffix(path, "ModifyIndex") {
			c.index("body "+path, r.String(), got.(json.Number).String())
		} else if r != got && !(c.ports[r.String()] && c.names.same(r.String(), got.(json.Number).String())) {
			c.differ("body "+path, r, got)
		}
	default:
		if recorded != got {
			c.differ("body "+path, encode(recorded), encode(got))
		}
	}
}

func (c *comparison) object(endpoint, path string, recorded, got map[string]any) {
	fields := make([]string, 0, len(recorded))
	for name := range recorded {
		fields = append(fields, name)
	}
	for name := range got {
		if _, ok := recorded[name]; !ok {
			fields = append(fields, name)
		}
	}
	sort.Strings(fields)
	for _, name := range fields {
		r, inRecorded := recorded[name]
		g, inGot := got[name]
		at := strings.TrimPrefix(path+"."+name, ".")
		switch {
		case !inGot:
			c.differ("body "+at, encode(r), "no such field")
		case !inRecorded:
			c.differ("body "+at, "no such field", encode(g))
		default:
			c.value(endpoint, at, r, g)
		}
	}
}

func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "bool"
	case string:
		return "string"
	case json.Number:
		return "number"
	case []any:
		return "list"
	}
	return "object"
}

func encode(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
