package consulmock

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lictor-go/consul"
)

// checkChanged tells the aliases of a check's service.
func (a *agent) checkChanged(c *localCheck) {
	if c.def.isAlias() {
		return
	}
	a.serviceChanged(c.rec.ServiceID)
}

// serviceChanged tells the aliases of a service, or all if the ID is empty.
func (a *agent) serviceChanged(id string) {
	for c := range a.aliases {
		if id == "" || c.def.AliasService == id {
			a.updateAlias(c)
		}
	}
}

// updateAlias gives an alias check the status of what it stands for.
func (a *agent) updateAlias(c *localCheck) {
	if c.def.AliasNode != "" && a.config.version == v1_8_7 && a.store.node(c.def.AliasNode) == nil {
		time.AfterFunc(time.Millisecond, a.s.Stop) // a fault of 1.8.7 ends the agent
		return
	}
	if id := c.def.AliasService; id != "" && !a.hasService(c.def.AliasNode, id) {
		c.setStatus(string(consul.HealthCritical), fmt.Sprintf("Service %s could not be found on node %s", id, c.def.AliasNode))
		return
	}
	status, output := string(consul.HealthPassing), "No checks found."
	for _, other := range a.aliased(c) {
		failing := fmt.Sprintf("Aliased check %q failing: %s", other.Name, other.Output)
		switch {
		case other.Status == string(consul.HealthCritical):
			// Of several an agent names any; here it stays with the one it has named.
			if status != other.Status || failing == c.rec.Output {
				status, output = other.Status, failing
			}
		case status == string(consul.HealthCritical):
		case other.Status == string(consul.HealthWarning):
			status, output = other.Status, failing
		case status == string(consul.HealthPassing):
			output = "All checks passing."
		}
	}
	c.setStatus(status, output)
}

// aliased returns the checks that decide about an alias: those of the node and
// of the service that it names.
func (a *agent) aliased(c *localCheck) []*checkRecord {
	var list []*checkRecord
	if c.def.AliasNode == "" {
		for _, other := range a.nodeChecks {
			if other != c {
				list = append(list, &other.rec)
			}
		}
		for _, other := range a.checksOf(c.def.AliasService) {
			list = append(list, &other.rec)
		}
	} else if n := a.store.node(c.def.AliasNode); n != nil {
		for _, other := range n.checks {
			if other.ServiceID == "" || other.ServiceID == c.def.AliasService {
				list = append(list, other.checkRecord)
			}
		}
	}
	slices.SortFunc(list, func(a, b *checkRecord) int { return strings.Compare(a.CheckID, b.CheckID) })
	return list
}

// hasService reports whether a service is on a node, or on the agent.
func (a *agent) hasService(nodeName, id string) bool {
	if nodeName == "" {
		return a.services[id] != nil
	}
	n := a.store.node(nodeName)
	return n != nil && n.services[strings.ToLower(id)] != nil
}
