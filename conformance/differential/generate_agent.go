package differential

import "strings"

// Names are few, so that requests meet what others have made.

func (g *generator) serviceName() string {
	return pick(g, "web", "api", "db", "WEB", "cache", "a b", "ü", "consul", "none", "x/y")
}

func (g *generator) serviceID() string {
	return pick(g, "web-1", "web-2", "api-1", "db-1", g.twin("WEB-1"), "web", "a/b", "ü 1", "none")
}

// twin returns a name that differs from another one in case only. The streaming backend
// takes two IDs or nodes that do for two, and the catalog for one: what the first shows
// then depends on what it was requested before. So 1.21.4 gets other names.
func (g *generator) twin(name string) string {
	if g.version == "1.21.4" {
		return strings.Replace(name, "1", "3", 1)
	}
	return name
}

// nameOf is the name of the service that mostly has an ID.
func nameOf(id string) string { return strings.TrimRight(id, "-123 ") }

func (g *generator) checkID() string {
	return pick(g, "c1", "service:web-1", "service:web-2", "c2", "service:api-1", "service:web-1:1", "service:web-1:2", "C1", "a b", "none", "serfHealth")
}

func (g *generator) status() string { return pick(g, "passing", "critical", "warning", "") }

// agentWrite is a request that changes something at the agent.
func (g *generator) agentWrite() request {
	switch g.IntN(16) {
	case 0, 1, 2, 3:
		return g.put(g.params("/v1/agent/service/register", "replace-existing-checks", "replace-existing-checks=false", "replace-existing-checks=1", "ns=default", "token=x", "dc=nope", "pretty"), g.body(g.service()))
	case 4, 5:
		return g.put("/v1/agent/service/deregister/"+in(g.serviceID()), "")
	case 6:
		return g.put("/v1/agent/check/register", g.body(g.nodeCheck()))
	case 7:
		return g.put("/v1/agent/check/deregister/"+in(g.checkID()), "")
	case 8:
		return g.put(g.params("/v1/agent/service/maintenance/"+in(g.serviceID()), "enable=true", "enable=false", "enable=true", "reason=why", "enable=", "enable=maybe", "reason="), "")
	case 9:
		if g.chance(0.5) {
			return g.put("/v1/agent/maintenance?enable=false", "")
		}
		return g.put(g.params("/v1/agent/maintenance", "enable=true", "enable=0", "reason=why%20not", "enable=x"), "")
	case 10:
		return g.put("/v1/agent/check/update/"+in(g.checkID()), g.body(g.object([]member{{"Status", text(g.status())}, {"Output", text(g.note())}})))
	default:
		return g.report()
	}
}

// report reports the status of a TTL check.
func (g *generator) report() request {
	return g.put(g.params("/v1/agent/check/"+pick(g, "pass", "fail", "warn")+"/"+in(g.checkID()), "note=fine", "note="+strings.Repeat("n", 60), "note=%C3%BC", "ns=default"), "")
}

func (g *generator) note() string {
	return pick(g, "fine", "", "ü <&>", "x", "fine too", strings.Repeat("long ", 1000))
}

// service is the definition of a service. A sidecar would be given a port and
// probed, so there are none.
func (g *generator) service() string {
	id := g.serviceID()
	var m []member
	if g.chance(0.9) {
		m = append(m, member{"ID", text(id)})
	}
	name := nameOf(id)
	if g.chance(0.2) {
		name = g.serviceName()
	}
	m = append(m, member{"Name", text(name)})
	for _, optional := range []struct {
		name   string
		values []string
	}{
		{"Port", []string{"80", "8080", "0", "-1", "70000", "null"}},
		{"Tags", []string{`["v1"]`, `["v1","v2"]`, `[]`, `["a,b"," "]`, `["v1","v1"]`, `[""]`, "null"}},
		{"Address", []string{`"10.0.0.7"`, `"web.example"`, `"::1"`, `""`, `"0.0.0.0"`}},
		{"Meta", []string{`{"team":"blue"}`, `{"a":"","b":"c"}`, `{}`, `{"":"x"}`, `{"bad key":"x"}`, `{"consul-x":"y"}`, "null"}},
		{"Weights", []string{`{"Passing":10,"Warning":2}`, `{"Passing":5}`, `{"Passing":0,"Warning":1}`, `{"Passing":1,"Warning":-1}`, `{"Passing":70000}`, "null"}},
		{"EnableTagOverride", []string{"true", "false", "null"}},
		{"TaggedAddresses", []string{`{"lan":{"Address":"10.0.0.8","Port":81}}`, `{"wan":{"Address":"198.51.100.7"}}`, `{}`, `{"x":{}}`}},
		{"Kind", []string{`""`, `"connect-proxy"`, `"mesh-gateway"`, `"terminating-gateway"`, `"ingress-gateway"`, `"bogus"`}},
		{"Proxy", []string{`{"DestinationServiceName":"web"}`, `{"DestinationServiceName":"web","DestinationServiceID":"web-1","LocalServicePort":80,"Config":{"a":1}}`, `{}`, `{"DestinationServiceName":"db","Upstreams":[{"DestinationName":"api","LocalBindPort":9000}]}`}},
		{"Connect", []string{`{"Native":true}`, `{}`, "null"}},
	} {
		p := 0.25
		if optional.name == "Kind" || optional.name == "Proxy" || optional.name == "Connect" {
			p = 0.06
		}
		if g.chance(p) {
			m = append(m, member{optional.name, pick(g, optional.values...)})
		}
	}
	if g.chance(0.5) {
		m = append(m, member{"Check", g.check(false)})
	}
	if g.chance(0.2) {
		var list []string
		for range g.IntN(3) {
			list = append(list, g.check(false))
		}
		m = append(m, member{"Checks", "[" + strings.Join(list, ",") + "]"})
	}
	return g.object(m)
}

// nodeCheck is the definition of a check that is registered by itself.
func (g *generator) nodeCheck() string { return g.check(true) }

// check is the definition of a check, by itself or in a service. None expires or
// runs while a sequence lasts.
func (g *generator) check(alone bool) string {
	var m []member
	if alone {
		m = append(m, member{"ID", text(pick(g, "c1", "c2", "C1", "a b", "service:web-1"))}, member{"Name", text(pick(g, "one", "two", ""))})
		if g.chance(0.4) {
			m = append(m, member{"ServiceID", text(g.serviceID())})
		}
	} else {
		if g.chance(0.3) {
			m = append(m, member{"CheckID", text(pick(g, "c1", "c2", "service:web-1", "own"))})
		}
		if g.chance(0.3) {
			m = append(m, member{"Name", text("named")})
		}
	}
	switch x := g.IntN(20); {
	case x < 12:
		m = append(m, member{"TTL", pick(g, `"10m"`, `"1h"`, "3600000000000", `"0s"`, `"-1s"`, `"abc"`)})
	case x < 14:
		m = append(m, member{"HTTP", `"http://127.0.0.1:1/"`}, member{"Interval", pick(g, `"10h"`, `"0s"`)})
	case x < 15:
		m = append(m, member{"TCP", `"127.0.0.1:1"`}, member{"Interval", `"10h"`}, member{"Timeout", `"1s"`})
	case x < 16:
		m = append(m, member{"GRPC", `"127.0.0.1:1"`}, member{"Interval", `"10h"`})
	case x < 17 && alone: // a service with one is refused when a part of it is there already
		m = append(m, member{"Args", `["true"]`}, member{"Interval", `"10h"`})
		m[0].value = `"script"` // a check that had its ID goes, and the agent is not right afterwards
	case x < 18:
		m = append(m, member{"UDP", `"127.0.0.1:1"`}, member{"Interval", `"10h"`})
	}
	for _, optional := range []member{
		{"Status", text(pick(g, "passing", "warning", "critical", "", "bogus"))},
		{"Notes", `"by hand"`},
		{"DeregisterCriticalServiceAfter", `"90m"`},
		{"OutputMaxSize", pick(g, "10", "-1", "5000")},
		{"SuccessBeforePassing", pick(g, "2", "0")},
		{"FailuresBeforeWarning", "5"},
	} {
		if g.chance(0.15) || optional.name == "Status" && g.chance(0.4) {
			m = append(m, optional)
		}
	}
	return g.object(m)
}

// agentRead is a read of what the agent itself has.
func (g *generator) agentRead() request {
	switch g.IntN(8) {
	case 0, 1:
		return g.get(g.params("/v1/agent/services", g.filter("Service", "Tags", "ID", "Port", "Meta.team", "Nope"), "pretty", "stale", "index=1", "ns=x"))
	case 2, 3:
		return g.get(g.params("/v1/agent/checks", g.filter("Status", "CheckID", "ServiceName", "ServiceTags", "Nope"), "pretty", "cached"))
	case 4:
		return g.get(g.params("/v1/agent/health/service/name/"+in(g.serviceName()), "format=text", "format=json", "format=x", "ns=default"))
	case 5:
		return g.get(g.params("/v1/agent/health/service/id/"+in(g.serviceID()), "format=text", "format="))
	default:
		return g.get(g.params("/v1/agent/service/"+in(g.serviceID()), "hash=x", "wait=x", "pretty", "filter=x", "wait=1s"))
	}
}
