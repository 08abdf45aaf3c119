package consulmock

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/lictor-go/consul/consulmock/internal/state"
)

// Dump returns the state of the server as text, for the log of a failing test:
// the agent's services and checks, the catalog, the keys and the sessions with their indexes,
// the requests that wait, and the last ones that have a response.
func (s *Server) Dump() string {
	var b strings.Builder
	s.mu.Lock()
	a := s.agent
	fmt.Fprintf(&b, "agent %s (Consul %s, datacenter %s), index %d\n", a.Config.Node, a.Config.Version, a.Config.Datacenter, a.Store.Index)
	for _, svc := range state.Sorted(a.Services) {
		fmt.Fprintf(&b, "  service %s (%s) %s:%d %v\n", svc.Rec.ID, svc.Rec.Name, svc.Rec.Address, svc.Rec.Port, svc.Rec.Tags)
		for _, c := range state.Sorted(svc.Checks) {
			dumpCheck(&b, "    ", &c.Rec)
		}
	}
	for _, c := range state.Sorted(a.NodeChecks) {
		dumpCheck(&b, "  ", &c.Rec)
	}
	b.WriteString("catalog\n")
	for _, n := range state.Sorted(a.Store.Nodes) {
		fmt.Fprintf(&b, "  node %s %s (index %d)\n", n.Node, n.Address, n.ModifyIndex)
		for _, svc := range state.Sorted(n.Services) {
			fmt.Fprintf(&b, "    service %s (%s) %s:%d %v (index %d)\n", svc.ID, svc.Name, svc.Address, svc.Port, svc.Tags, svc.ModifyIndex)
			for _, c := range state.Sorted(svc.Checks) {
				dumpCheck(&b, "      ", c.CheckRecord)
			}
		}
		for _, c := range state.Sorted(n.NodeChecks) {
			dumpCheck(&b, "    ", c.CheckRecord)
		}
	}
	if keys := a.Store.KeysWith(""); len(keys) > 0 {
		b.WriteString("keys\n")
		for _, p := range keys {
			dumpKey(&b, p)
		}
	}
	b.WriteString("sessions\n")
	for _, session := range state.Sorted(a.Store.Sessions) {
		dumpSession(&b, session)
	}
	s.mu.Unlock()
	s.log.dump(&b)
	return b.String()
}

func dumpCheck(b *strings.Builder, indent string, c *state.CheckRecord) {
	fmt.Fprintf(b, "%scheck %s (%s) %s: %q\n", indent, c.CheckID, c.Type, c.Status, c.Output)
}

// dumpKey writes a key with the beginning of its value.
func dumpKey(b *strings.Builder, p *state.KVPair) {
	const most = 100
	name, value, more := p.Key, p.Value, ""
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` || strings.TrimSpace(name) != name {
		name = quoted
	}
	if len(value) > most {
		value, more = value[:most], fmt.Sprintf("... (%d bytes)", len(p.Value))
	}
	fmt.Fprintf(b, "  %s = %q%s (index %d)", name, value, more, p.ModifyIndex)
	if p.Session != "" {
		fmt.Fprintf(b, ", held by session %s", p.Session)
	}
	b.WriteString("\n")
}

func dumpSession(b *strings.Builder, s *state.Session) {
	fmt.Fprintf(b, "  session %s %q on %s", s.ID, s.Name, s.Node)
	if s.TTL != "" {
		fmt.Fprintf(b, ", TTL %s", s.TTL)
	}
	fmt.Fprintf(b, ", checks %q, %ss its keys (index %d)\n", s.CheckIDs(), s.Behavior, s.ModifyIndex)
}
