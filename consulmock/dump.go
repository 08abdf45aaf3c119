package consulmock

import (
	"fmt"
	"strings"

	"github.com/lictor-go/consul/internal/httplog"
)

// Dump returns the state of the server as text, for the log of a failing test:
// the agent's services and checks, the catalog with its indexes, the requests
// that wait, and the last ones that have a response.
func (s *Server) Dump() string {
	var b strings.Builder
	s.mu.Lock()
	a := s.agent
	fmt.Fprintf(&b, "agent %s (Consul %s, datacenter %s), index %d\n", a.config.node, a.config.version, a.config.datacenter, a.store.index)
	for _, svc := range sorted(a.services) {
		fmt.Fprintf(&b, "  service %s (%s) %s:%d %v\n", svc.rec.ID, svc.rec.Name, svc.rec.Address, svc.rec.Port, svc.rec.Tags)
		for _, c := range sorted(svc.checks) {
			dumpCheck(&b, "    ", &c.rec)
		}
	}
	for _, c := range sorted(a.nodeChecks) {
		dumpCheck(&b, "  ", &c.rec)
	}
	b.WriteString("catalog\n")
	for _, n := range sorted(a.store.nodes) {
		fmt.Fprintf(&b, "  node %s %s (index %d)\n", n.Node, n.Address, n.ModifyIndex)
		for _, svc := range sorted(n.services) {
			fmt.Fprintf(&b, "    service %s (%s) %s:%d %v (index %d)\n", svc.ID, svc.Name, svc.Address, svc.Port, svc.Tags, svc.ModifyIndex)
			for _, c := range sorted(svc.checks) {
				dumpCheck(&b, "      ", c.checkRecord)
			}
		}
		for _, c := range sorted(n.own) {
			dumpCheck(&b, "    ", c.checkRecord)
		}
	}
	s.mu.Unlock()
	s.log.dump(&b)
	return b.String()
}

func dumpCheck(b *strings.Builder, indent string, c *checkRecord) {
	fmt.Fprintf(b, "%scheck %s (%s) %s: %q\n", indent, c.CheckID, c.Type, c.Status, c.Output)
}

// dump writes the requests that are open, and the last twenty others.
func (l *requestLog) dump(b *strings.Builder) {
	const last = 20
	l.mu.Lock()
	defer l.mu.Unlock()
	b.WriteString("requests\n")
	for i, r := range l.kept {
		if !r.open && i < len(l.kept)-last {
			continue
		}
		state := fmt.Sprint(r.Status)
		if r.open {
			state = "open"
		}
		fmt.Fprintf(b, "  %s %s %s: %s\n", r.Time.Format("15:04:05.000"), r.Method, httplog.URL(r.Path, r.Query), state)
	}
}
