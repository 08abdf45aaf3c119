package differential

import (
	"encoding/base64"
	"fmt"
	"strings"
)

func (g *generator) key() string {
	return pick(g, "app/x", "k", "app/y", "app/", "app/x/1", "ap", "zebra", "K", "a b", "ü", "app//x", "")
}

// inKey is a key as it stands in a path. Its slashes are those of the path.
func inKey(key string) string { return "/v1/kv/" + strings.ReplaceAll(in(key), "%2F", "/") }

// kvRead is a read of keys.
func (g *generator) kvRead() request {
	if g.chance(0.4) {
		return g.get(g.params(inKey(pick(g, "app/", "", "app", "ap", "app/x", "none/")), "recurse", "keys", "keys&separator=/", "recurse=false", "separator=/", "keys&separator=", "raw"))
	}
	return g.get(g.params(inKey(g.key()), "raw", "pretty", "recurse", "stale", "consistent", "dc=nope", "keys", "ns=x", "filter=x"))
}

// kvWrite writes a key, often under a condition.
func (g *generator) kvWrite() step {
	key := g.key()
	target := inKey(key)
	r := g.put(target, pick(g, "v1", "v2", "", "\x00\xff", `{"a":1}`))
	if g.chance(0.25) {
		r = g.del(target)
		if g.chance(0.3) {
			return g.withIndex(key, r)
		}
		r.target = g.params(target, "recurse", "recurse=false", "dc=nope", "cas=0")
		return step{writes: []request{r}}
	}
	r.target = g.params(r.target, "flags=7", "flags=0", "flags=abc", "flags=18446744073709551615", "pretty", "flags=-1")
	switch x := g.Float64(); {
	case x < 0.2:
		return g.withIndex(key, r)
	case x < 0.45:
		r.target = withParam(r.target, pick(g, "acquire", "release")+"=${s}")
		r.vars = append(r.vars, g.session())
	case x < 0.5:
		r.target = withParam(r.target, pick(g, "acquire=", "release=x", "acquire=x", "acquire=11111111-1111-1111-1111-111111111111", "cas=0&acquire=x"))
	}
	return step{writes: []request{r}}
}

// withIndex makes a write depend on an index of the key, mostly on the present one.
func (g *generator) withIndex(key string, r request) step {
	if g.chance(0.3) {
		r.target = withParam(r.target, "cas="+pick(g, "0", "1", "abc", "", "-1"))
		return step{writes: []request{r}}
	}
	read := g.get(inKey(key))
	r.target = withParam(r.target, "cas=${i}")
	r.vars = append(r.vars, variable{name: "i", from: read.id, path: pick(g, "0.ModifyIndex", "0.ModifyIndex", "0.CreateIndex"), absent: "0"})
	return step{reads: []request{read}, writes: []request{r}}
}

// txnWrite is a transaction of a few operations.
func (g *generator) txnWrite() step {
	var s step
	var ops []string
	var vars []variable
	for n := range 1 + g.IntN(4) {
		switch x := g.Float64(); {
		case x < 0.7:
			key := g.key()
			verb := pick(g, "set", "get", "delete", "cas", "delete-cas", "lock", "unlock", "get-tree", "delete-tree", "check-index", "check-not-exists", "check-session", "get-or-empty", "bogus")
			m := []member{{"Verb", text(verb)}, {"Key", text(key)}}
			if g.chance(0.6) {
				m = append(m, member{"Value", text(base64.StdEncoding.EncodeToString([]byte(pick(g, "v1", "v2", ""))))})
			}
			if g.chance(0.2) {
				m = append(m, member{"Flags", "3"})
			}
			switch verb {
			case "cas", "delete-cas", "check-index":
				name := fmt.Sprintf("i%d", n)
				read := g.get(inKey(key))
				s.reads = append(s.reads, read)
				vars = append(vars, variable{name: name, from: read.id, path: "0.ModifyIndex", absent: "0"})
				m = append(m, member{"Index", "${" + name + "}"})
			case "lock", "unlock", "check-session":
				vars = append(vars, g.session())
				m = append(m, member{"Session", `"${s}"`})
			}
			ops = append(ops, `{"KV":`+g.object(m)+"}")
		case x < 0.8:
			ops = append(ops, `{"Node":`+g.object([]member{{"Verb", text(pick(g, "get", "set", "cas", "delete", "delete-cas", "x"))},
				{"Node", g.object([]member{{"Node", text(pick(g, "ext1", "ext2", g.twin("EXT1")))}, {"Address", text(pick(g, "10.0.0.1", "10.0.0.2"))}})}})+"}")
		case x < 0.9:
			id := g.serviceID()
			ops = append(ops, `{"Service":`+g.object([]member{{"Verb", text(pick(g, "get", "set", "cas", "delete", "delete-cas"))}, {"Node", text(pick(g, "ext1", "ext2"))},
				{"Service", g.object([]member{{"ID", text(id)}, {"Service", text(nameOf(id))}, {"Port", fmt.Sprint(g.IntN(2))}})}})+"}")
		default:
			ops = append(ops, `{"Check":`+g.object([]member{{"Verb", text(pick(g, "get", "set", "cas", "delete", "delete-cas"))},
				{"Check", g.object([]member{{"Node", text(pick(g, "ext1", "ext2"))}, {"CheckID", text(pick(g, "c1", "c2"))}, {"Name", `"a check"`}, {"Status", text(g.status())}})}})+"}")
		}
	}
	r := g.put(g.params("/v1/txn", "pretty", "stale", "consistent", "dc=nope"), g.body("["+strings.Join(ops, ",")+"]"))
	r.vars = vars
	s.writes = []request{r}
	return s
}
