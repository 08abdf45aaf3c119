package differential

import (
	"fmt"
)

func (g *generator) nodeName() string { return pick(g, "ext1", "ext2", g.twin("EXT1"), node, "none") }

// catalogWrite writes to the catalog. The agent's own node stays as it is, since
// the agent and the leader put it right after a time that is chance.
func (g *generator) catalogWrite() request {
	name := pick(g, "ext1", "ext2", g.twin("EXT1"), "ext 3")
	if g.chance(0.35) {
		m := []member{{"Node", text(name)}}
		if g.chance(0.5) {
			m = append(m, member{"ServiceID", text(g.serviceID())})
		}
		if g.chance(0.4) {
			m = append(m, member{"CheckID", text(g.checkID())})
		}
		if g.chance(0.1) {
			m = append(m, member{"Datacenter", pick(g, `"dc1"`, `"nope"`, `""`)})
		}
		return g.put("/v1/catalog/deregister", g.body(g.object(m)))
	}
	m := []member{{"Node", text(name)}}
	if g.chance(0.9) {
		m = append(m, member{"Address", text(pick(g, "10.0.0.1", "10.0.0.2", "", "ext.example"))})
	}
	for _, optional := range []member{
		{"ID", text(pick(g, "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222", "abc", ""))},
		{"NodeMeta", pick(g, `{"rack":"1"}`, `{}`, `{"rack":"2","b":""}`)},
		{"TaggedAddresses", pick(g, `{"lan":"10.0.0.1"}`, `{}`)},
		{"SkipNodeUpdate", pick(g, "true", "false")},
		{"Datacenter", pick(g, `"dc1"`, `""`, `"nope"`)},
	} {
		if g.chance(0.12) {
			m = append(m, optional)
		}
	}
	if g.chance(0.7) {
		m = append(m, member{"Service", g.catalogService()})
	}
	switch g.IntN(4) {
	case 0:
		m = append(m, member{"Check", g.catalogCheck(name)})
	case 1:
		m = append(m, member{"Checks", "[" + g.catalogCheck(name) + "," + g.catalogCheck(name) + "]"})
	}
	return g.put("/v1/catalog/register", g.body(g.object(m)))
}

func (g *generator) catalogService() string {
	id := g.serviceID()
	m := []member{{"ID", text(id)}, {"Service", text(nameOf(id))}}
	for _, optional := range []member{
		{"Port", fmt.Sprint(g.IntN(3))},
		{"Tags", pick(g, `["v1"]`, `["v2","v1"]`, `[]`, "null")},
		{"Address", pick(g, `"10.0.0.9"`, `""`)},
		{"Meta", pick(g, `{"team":"red"}`, `{"bad key":"x"}`, `{}`)},
		{"Weights", pick(g, `{"Passing":3,"Warning":1}`, `{"Passing":0,"Warning":0}`)},
		{"EnableTagOverride", "true"},
		{"TaggedAddresses", `{"lan":{"Address":"10.0.0.9","Port":5}}`},
	} {
		if g.chance(0.25) {
			m = append(m, optional)
		}
	}
	if g.chance(0.08) {
		m = append(m, member{"Kind", `"connect-proxy"`}, member{"Proxy", `{"DestinationServiceName":"web"}`})
	}
	return g.object(m)
}

func (g *generator) catalogCheck(name string) string {
	m := []member{{"CheckID", text(g.checkID())}}
	for _, optional := range []member{
		{"Name", `"a check"`},
		{"Status", text(pick(g, "passing", "critical", "warning", "odd", ""))},
		{"ServiceID", text(g.serviceID())},
		{"Output", `"out"`},
		{"Notes", `"n"`},
	} {
		if g.chance(0.5) {
			m = append(m, optional)
		}
	}
	if g.chance(0.5) {
		m = append(m, member{"Node", text(name)})
	}
	if g.chance(0.1) {
		m = append(m, member{"Definition", pick(g, `{"HTTP":"http://10.0.0.1/","Interval":"10s"}`, `{}`, `{"IntervalDuration":"5s","TCP":"10.0.0.1:1"}`)})
	}
	return g.object(m)
}

// catalogRead is a read of the catalog.
func (g *generator) catalogRead() request {
	switch x := g.Float64(); {
	case x < 0.06:
		return g.get(g.params(pick(g, "/v1/status/leader", "/v1/status/peers", "/v1/agent/members", "/v1/catalog/datacenters", "/v1/agent/self", "/v1/nope", "/v1/catalog/", "/v1/health/service", "/v1//catalog/nodes"), "pretty", "stale", "dc=nope"))
	case x < 0.25:
		r := g.catalogWatchable()
		r.target = withParam(r.target, pick(g, "index=0", "index=1&wait=60ms", "index=abc", "wait=abc", "wait=1ms", "index=", "index=18446744073709551615&wait=60ms", "index=-1", "wait=5"))
		return r
	}
	r := g.catalogWatchable()
	r.target = g.params(r.target, "stale", "consistent", "pretty", "dc=dc1", "dc=nope", "dc=", "near=node1", "max_stale=10s", "max_stale=x", "ns=default", "partition=x", "peer=x", "unknown=1", "%zz", "a;b", "sg=x")
	return r
}

// catalogWatchable is a read of the catalog that can wait.
func (g *generator) catalogWatchable() request {
	tag := []string{"tag=v1", "tag=V1", "tag=v2", "tag=", "tag=v1&tag=v2", "tag=a%2Cb"}
	meta := []string{"node-meta=rack:1", "node-meta=rack", "node-meta="}
	checks := []string{"Status", "CheckID", "Name", "Node", "ServiceName", "ServiceTags", "Nope"}
	switch g.IntN(14) {
	case 0, 1, 2:
		return g.get(g.params("/v1/health/service/"+in(g.serviceName()), append(append(tag, meta...), "passing", "passing=1", "passing=0", "passing=x", "passing=true",
			g.filter("Service.ID", "Service.Tags", "Checks", "Node.Node", "Checks.Status", "Service.Port", "Service.Meta.team", "Nope"))...))
	case 3:
		return g.get(g.params("/v1/health/connect/"+in(g.serviceName()), append(tag, "passing")...))
	case 4:
		return g.get(g.params("/v1/health/checks/"+in(g.serviceName()), append(meta, "tag=v1", g.filter(checks...))...))
	case 5:
		return g.get(g.params("/v1/health/node/"+in(g.nodeName()), g.filter(checks...)))
	case 6:
		return g.get(g.params("/v1/health/state/"+pick(g, "any", "passing", "critical", "warning", "ANY", "Passing", "x", ""), append(meta, g.filter(checks...))...))
	case 7:
		return g.get(g.params("/v1/catalog/services", append(meta, g.filter("ServiceName", "ServiceTags", "Nope"))...))
	case 8, 9:
		return g.get(g.params("/v1/catalog/service/"+in(g.serviceName()), append(append(tag, meta...), "passing", g.filter("ServiceID", "ServiceTags", "Node", "ServicePort", "NodeMeta.rack", "Nope"))...))
	case 10:
		return g.get(g.params("/v1/catalog/connect/"+in(g.serviceName()), tag...))
	case 11:
		return g.get(g.params("/v1/catalog/nodes", append(meta, g.filter("Node", "Meta.rack", "Address", "Nope"))...))
	case 12:
		return g.get(g.params("/v1/catalog/node/"+in(g.nodeName()), g.filter("Service", "Tags", "ID", "Nope")))
	default:
		return g.get(g.params("/v1/catalog/node-services/"+in(g.nodeName()), g.filter("Service", "Tags", "ID", "Nope")))
	}
}
