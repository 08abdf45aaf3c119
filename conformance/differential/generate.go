package differential

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
)

// generator makes up sequences. What it makes follows from its seed.
type generator struct {
	*rand.Rand
	version  string
	lastID   int
	sessions []int // the IDs of requests that create sessions
}

// generate returns the sequence of a seed.
func generate(seed uint64, version string, length int) []step {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0)), version: version}
	restart := -1
	if g.chance(0.15) {
		restart = length / 2
	}
	var steps []step
	for i := range length {
		s := g.step()
		s.restart = i == restart
		for _, part := range [][]request{s.reads, s.writes} {
			g.headers(part)
		}
		steps = append(steps, s)
	}
	return steps
}

// headers adds a header to one request or another.
func (g *generator) headers(requests []request) {
	for i := range requests {
		if g.chance(0.04) {
			requests[i].headers = [][2]string{pick(g, [2]string{"X-Consul-Token", "x"}, [2]string{"Accept", "text/plain"},
				[2]string{"X-Consul-Namespace", "x"}, [2]string{"Cache-Control", "max-age=abc"}, [2]string{"Content-Type", "text/plain"}, [2]string{"X-Consul-Partition", "x"})}
		}
	}
}

func (g *generator) step() step {
	switch x := g.Float64(); {
	case x < 0.43:
		return step{reads: []request{g.read()}}
	case x < 0.93:
		return g.write()
	default:
		return g.watch()
	}
}

func (g *generator) read() request {
	switch x := g.Float64(); {
	case x < 0.2:
		return g.agentRead()
	case x < 0.6:
		return g.catalogRead()
	case x < 0.8:
		return g.kvRead()
	case x < 0.95:
		return g.sessionRead()
	default:
		return g.eventRead()
	}
}

func (g *generator) write() step {
	if g.chance(0.02) {
		r := g.read()
		r.method = pick(g, "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH")
		return step{writes: []request{r}}
	}
	switch x := g.Float64(); {
	case x < 0.42:
		return step{writes: []request{g.agentWrite()}}
	case x < 0.6:
		return step{writes: []request{g.catalogWrite()}}
	case x < 0.77:
		return g.kvWrite()
	case x < 0.9:
		return step{writes: []request{g.sessionWrite()}}
	case x < 0.98:
		return g.txnWrite()
	default:
		return step{writes: []request{g.eventWrite()}}
	}
}

// watch returns waits for up to three reads, with a write in the middle.
func (g *generator) watch() step {
	middle := g.certain()
	s := step{writes: middle.writes}
	for range 1 + g.IntN(3) {
		read := g.watchable()
		wait := read
		wait.id = g.nextID()
		wait.target = withParam(wait.target, "wait=700ms")
		if strings.HasPrefix(read.target, "/v1/agent/") {
			wait.hash = read.id
		} else {
			wait.index = read.id
		}
		s.reads, s.waits = append(s.reads, read), append(s.waits, wait)
	}
	s.reads = append(s.reads, middle.reads...)
	return s
}

// watchable is a read that can wait.
func (g *generator) watchable() request {
	switch x := g.Float64(); {
	case x < 0.1:
		return g.get("/v1/agent/service/" + in(g.serviceID()))
	case x < 0.5:
		return g.catalogWatchable()
	case x < 0.8:
		return g.kvRead()
	case x < 0.95:
		return g.sessionRead()
	default:
		return g.eventRead()
	}
}

// certain is a write whose effect comes at one moment, if it has any.
func (g *generator) certain() step {
	switch x := g.Float64(); {
	case x < 0.2:
		return step{writes: []request{g.report()}}
	case x < 0.25:
		return step{writes: []request{g.put("/v1/agent/service/register", fmt.Sprintf(`{"ID":%s,"Name":"web","Port":%d}`, text(pick(g, "web-1", "web-2")), g.IntN(3)))}}
	case x < 0.3:
		return step{writes: []request{g.put("/v1/agent/service/deregister/"+in(g.serviceID()), "")}}
	case x < 0.5:
		return step{writes: []request{g.catalogWrite()}}
	case x < 0.75:
		return g.kvWrite()
	case x < 0.9:
		return step{writes: []request{g.sessionWrite()}}
	default:
		return g.txnWrite()
	}
}

func (g *generator) nextID() int { g.lastID++; return g.lastID }

// get, put and del return requests.
func (g *generator) get(target string) request {
	return request{id: g.nextID(), method: "GET", target: target}
}

func (g *generator) put(target, body string) request {
	r := request{id: g.nextID(), method: "PUT", target: target}
	if body != "" {
		r.body = &body
	}
	return r
}

func (g *generator) del(target string) request {
	return request{id: g.nextID(), method: "DELETE", target: target}
}

func (g *generator) chance(p float64) bool { return g.Float64() < p }

// pick returns one of the values. The first ones are likelier.
func pick[T any](g *generator, values ...T) T {
	return values[min(g.IntN(len(values)), g.IntN(len(values)))]
}

// in is a name as it stands in a path.
func in(name string) string { return url.PathEscape(name) }

// text is a string in JSON.
func text(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// member is a member of a JSON object.
type member struct{ name, value string }

// object returns a JSON object of its members, and of odd ones with a small
// probability.
func (g *generator) object(members []member) string {
	if g.chance(0.06) {
		members = g.odd(members)
	}
	var parts []string
	for _, m := range members {
		parts = append(parts, text(m.name)+":"+m.value)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// isTime is the names of members that make something happen after a while.
var isTime = map[string]bool{"Interval": true, "TTL": true, "LockDelay": true}

// odd makes something wrong, or strange, with members of an object.
func (g *generator) odd(members []member) []member {
	members = append([]member(nil), members...)
	if len(members) == 0 || g.chance(0.2) {
		return append(members, pick(g, member{"Bogus", "1"}, member{"CheckID", `"x"`}, member{"Namespace", `"default"`}, member{"", "null"}))
	}
	m := &members[g.IntN(len(members))]
	switch g.IntN(3) {
	case 0:
		m.value = pick(g, "null", `""`, "1", "{}", "[]", "true", "-1", "1.5", `"x"`, "[null]", `["a"]`, `{"a":"b"}`)
		if isTime[m.name] && m.value[0] == '1' { // nanoseconds, which end while a sequence lasts
			m.value = "0"
		}
	case 1:
		m.name = pick(g, strings.ToLower(m.name), strings.ToUpper(m.name))
	default:
		*m = member{m.name, m.value}
		members = append(members, *m)
	}
	return members
}

// body spoils a JSON body with a small probability.
func (g *generator) body(json string) string {
	if !g.chance(0.03) {
		return json
	}
	return pick(g, "", json+" ", json[:len(json)-1], "["+json+"]", "null", "nonsense", `"x"`, "{}", json+"{", " ", "[]")
}

// params adds some of the parameters to a target. Of several node-meta agents take
// one at random for what they watch, so there is one at most.
func (g *generator) params(target string, all ...string) string {
	for g.chance(0.3) {
		if p := pick(g, all...); !strings.HasPrefix(p, "node-meta") || !strings.Contains(target, "node-meta") {
			target = withParam(target, p)
		}
	}
	return target
}

// filter returns an expression over fields.
func (g *generator) filter(fields ...string) string {
	field := pick(g, fields...)
	value := pick(g, "web", "passing", "v1", "node1", "", "ext1", "80", "true", "critical")
	e := pick(g,
		fmt.Sprintf("%s == %q", field, value), fmt.Sprintf("%s != %q", field, value), fmt.Sprintf("%q in %s", value, field),
		fmt.Sprintf("%s contains %q", field, value), fmt.Sprintf("%s is empty", field), fmt.Sprintf("not %s is empty", field),
		fmt.Sprintf("%s matches %q", field, "^w"), fmt.Sprintf("%q not in %s", value, field), field+" ==", fmt.Sprintf("%s == %s", field, value))
	if g.chance(0.15) {
		e = "(" + e + ") " + pick(g, "and", "or") + " " + g.filter(fields...)
	}
	return "filter=" + url.QueryEscape(e)
}
