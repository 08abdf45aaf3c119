package consulmock

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

const (
	// aliasDelay is how long after its registration an alias has its first result.
	// Until then it has the status of its definition, in the catalog too.
	aliasDelay = time.Millisecond
	// aliasRefresh is how long after a result an alias has the next one at the
	// latest. It sees then what it is not told of: a new output, checks of the node.
	aliasRefresh = time.Minute
)

// checkChanged tells those aliases of a check that follow its service. Nobody
// tells them of checks of the node.
func (a *agent) checkChanged(c *localCheck) {
	if c.rec.ServiceID != "" {
		a.serviceChanged(c.rec.ServiceID)
	}
}

// serviceChanged tells the aliases of a service of the agent.
func (a *agent) serviceChanged(id string) {
	for _, c := range a.aliasesWhere(func(c *localCheck) bool { return c.follows.AliasNode == "" && c.follows.AliasService == id }) {
		a.updateAlias(c)
	}
}

// aliasesWhere returns the aliases that a predicate is true of, ordered by ID, so
// that they reach the catalog in the same order each time.
func (a *agent) aliasesWhere(is func(*localCheck) bool) []*localCheck {
	var list []*localCheck
	for c := range a.aliases {
		if is(c) {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(b, c *localCheck) int { return strings.Compare(b.rec.CheckID, c.rec.CheckID) })
	return list
}

// catalogChanged tells the aliases of nodes, if the catalog has changed since they
// were last told.
func (a *agent) catalogChanged() {
	index := a.store.max(checksTable, servicesTable)
	for c := range a.aliases {
		if c.follows.AliasNode != "" && index != c.aliasIndex {
			c.aliasIndex = index
			c.updateAliasSoon()
		}
	}
}

// updateAliasSoon gives an alias a result in a moment.
func (c *localCheck) updateAliasSoon() {
	if !c.aliasDue {
		c.aliasDue = true
		c.updateAliasIn(aliasDelay)
	}
}

// updateAliasIn updates an alias after a while.
func (c *localCheck) updateAliasIn(d time.Duration) {
	if c.alias != nil {
		c.alias.Stop()
	}
	c.alias = c.after(d, func() {
		c.a.updateAlias(c)
		c.a.syncChanges()
	})
}

// updateDueAliases gives the aliases that have a result in a moment one now.
func (a *agent) updateDueAliases() {
	due := a.aliasesWhere(func(c *localCheck) bool { return c.aliasDue })
	for _, c := range due {
		a.updateAlias(c)
	}
	if len(due) > 0 {
		a.syncChanges()
	}
}

// updateAlias gives an alias check the status of what it follows.
func (a *agent) updateAlias(c *localCheck) {
	def := c.follows
	if def.AliasNode != "" && a.config.version == release.V1_8_7 && a.store.node(def.AliasNode) == nil {
		time.AfterFunc(time.Millisecond, a.run.stop) // a fault of 1.8.7 ends the agent
		return
	}
	c.aliasDue = false
	c.updateAliasIn(aliasRefresh)
	if id := def.AliasService; id != "" && !a.hasService(def.AliasNode, id) {
		c.setStatus(string(consul.HealthCritical), fmt.Sprintf("Service %s could not be found on node %s", id, def.AliasNode))
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
	c.setStatus(status, output[:min(len(output), defaultMaxOutput)])
}

// aliased returns the checks that decide about an alias: those of the node and
// of the service that it names. An alias that is a check of the agent's node itself
// is one of them, so that it stays critical once it is.
func (a *agent) aliased(c *localCheck) []*checkRecord {
	def := c.follows
	var list []*checkRecord
	if def.AliasNode == "" {
		for _, other := range a.nodeChecks {
			list = append(list, &other.rec)
		}
		for _, other := range a.checksOf(def.AliasService) {
			list = append(list, &other.rec)
		}
	} else if n := a.store.node(def.AliasNode); n != nil {
		for _, other := range n.checks {
			if other.ServiceID == "" || other.ServiceID == def.AliasService {
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
