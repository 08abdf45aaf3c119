package differential

const nobody = "99999999-9999-9999-9999-999999999999"

// session is a variable for the ID of a session, of one that may have ended.
func (g *generator) session() variable {
	v := variable{name: "s", path: "ID", absent: nobody}
	if len(g.sessions) > 0 {
		v.from = g.sessions[len(g.sessions)-1-min(g.IntN(len(g.sessions)), g.IntN(len(g.sessions)))]
	}
	return v
}

// sessionRead is a read of sessions.
func (g *generator) sessionRead() request {
	switch g.IntN(4) {
	case 0:
		return g.get(g.params("/v1/session/list", "pretty", "stale", "dc=nope", "ns=x", "filter=x"))
	case 1:
		return g.get(g.params("/v1/session/node/"+in(g.nodeName()), "pretty", "consistent"))
	default:
		r := g.get(g.params("/v1/session/info/${s}", "pretty", "stale"))
		r.vars = []variable{g.session()}
		return r
	}
}

// sessionWrite makes a session, or ends or renews one.
func (g *generator) sessionWrite() request {
	if g.chance(0.55) {
		r := g.put(g.params("/v1/session/create", "dc=dc1", "dc=nope", "pretty"), g.body(g.newSession()))
		g.sessions = append(g.sessions, r.id)
		return r
	}
	r := g.put("/v1/session/"+pick(g, "destroy", "renew")+"/"+pick(g, "${s}", "${s}", "${s}", "x", nobody, ""), "")
	r.vars = []variable{g.session()}
	return r
}

// newSession is the body that makes a session. None ends by itself while a sequence
// lasts.
func (g *generator) newSession() string {
	var m []member
	for _, optional := range []struct {
		name   string
		values []string
	}{
		{"Name", []string{`"n"`, `""`}},
		{"Node", []string{`"node1"`, `"ext1"`, `"NODE1"`, `"none"`, `""`}},
		{"NodeChecks", []string{`[]`, `["serfHealth"]`, `["c1"]`, "null", `["none"]`, `["c1","c1"]`, `[""]`}},
		{"ServiceChecks", []string{`[{"ID":"service:web-1"}]`, `[]`, `[{"ID":"none"}]`, "null"}},
		{"Checks", []string{`["serfHealth"]`, `[]`, `["c2"]`, "null"}},
		{"TTL", []string{`"1h"`, `""`, `"10m"`, `"24h"`, `"25h"`, `"5s"`, `"abc"`, "10"}},
		{"LockDelay", []string{`"0s"`, `"0s"`, `"1h"`, "0", `"abc"`, "600", "null"}},
		{"Behavior", []string{`"delete"`, `"release"`, `""`, `"x"`}},
		{"Bogus", []string{"1"}},
	} {
		p := 0.25
		switch optional.name {
		case "LockDelay":
			p = 0.7
		case "Bogus", "Checks":
			p = 0.06
		}
		if g.chance(p) {
			m = append(m, member{optional.name, pick(g, optional.values...)})
		}
	}
	return g.object(m)
}

// eventWrite fires an event.
func (g *generator) eventWrite() request {
	return g.put(g.params("/v1/event/fire/"+in(pick(g, "deploy", "other", "a b", "")), "node=node1", "node=other", "service=web", "service=web&tag=v1", "tag=x", "node=%5B", "dc=dc1", "dc=nope"),
		pick(g, "payload", "", "\x00\xff"))
}

// eventRead lists events.
func (g *generator) eventRead() request {
	return g.get(g.params("/v1/event/list", "name=deploy", "name=other", "name=", "pretty", "node=x", "stale"))
}
