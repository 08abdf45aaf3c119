package agent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
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
func (a *Agent) checkChanged(c *Check) {
	if c.Rec.ServiceID != "" {
		a.serviceChanged(c.Rec.ServiceID)
	}
}

// serviceChanged tells the aliases of a service of the agent.
func (a *Agent) serviceChanged(id string) {
	for _, c := range a.aliasesWhere(func(c *Check) bool { return c.follows.AliasNode == "" && c.follows.AliasService == id }) {
		a.updateAlias(c)
	}
}

// aliasesWhere returns the aliases that a predicate is true of, ordered by ID, so
// that they reach the catalog in the same order each time.
func (a *Agent) aliasesWhere(is func(*Check) bool) []*Check {
	var list []*Check
	for c := range a.aliases {
		if is(c) {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(b, c *Check) int { return strings.Compare(b.Rec.CheckID, c.Rec.CheckID) })
	return list
}

// CatalogChanged tells the aliases of nodes, if the catalog has changed since they
// were last told.
func (a *Agent) CatalogChanged() {
	index := a.Store.MaxIndex(state.ChecksTable, state.ServicesTable)
	for c := range a.aliases {
		if c.follows.AliasNode != "" && index != c.aliasIndex {
			c.aliasIndex = index
			c.updateAliasSoon()
		}
	}
}

// updateAliasSoon gives an alias a result in a moment.
func (c *Check) updateAliasSoon() {
	if !c.aliasDue {
		c.aliasDue = true
		c.updateAliasIn(aliasDelay)
	}
}

// updateAliasIn updates an alias after a while.
func (c *Check) updateAliasIn(d time.Duration) {
	if c.alias != nil {
		c.alias.Stop()
	}
	c.alias = c.after(d, func() {
		c.a.updateAlias(c)
		c.a.SyncChanges()
	})
}

// UpdateDueAliases gives the aliases that have a result in a moment one now.
func (a *Agent) UpdateDueAliases() {
	due := a.aliasesWhere(func(c *Check) bool { return c.aliasDue })
	for _, c := range due {
		a.updateAlias(c)
	}
	if len(due) > 0 {
		a.SyncChanges()
	}
}

// updateAlias gives an alias check the status of what it follows.
func (a *Agent) updateAlias(c *Check) {
	def := c.follows
	if def.AliasNode != "" && a.Config.Version == release.V1_8_7 && a.Store.Node(def.AliasNode) == nil {
		time.AfterFunc(time.Millisecond, a.run.Stop) // a fault of 1.8.7 ends the agent
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
			if status != other.Status || failing == c.Rec.Output {
				status, output = other.Status, failing
			}
		case status == string(consul.HealthCritical):
		case other.Status == string(consul.HealthWarning):
			status, output = other.Status, failing
		case status == string(consul.HealthPassing):
			output = "All checks passing."
		}
	}
	c.setStatus(status, output[:min(len(output), DefaultMaxOutput)])
}

// aliased returns the checks that decide about an alias: those of the node and
// of the service that it names. An alias that is a check of the agent's node itself
// is one of them, so that it stays critical once it is.
func (a *Agent) aliased(c *Check) []*state.CheckRecord {
	def := c.follows
	var list []*state.CheckRecord
	if def.AliasNode == "" {
		for _, other := range a.NodeChecks {
			list = append(list, &other.Rec)
		}
		for _, other := range a.ChecksOf(def.AliasService) {
			list = append(list, &other.Rec)
		}
	} else if n := a.Store.Node(def.AliasNode); n != nil {
		for _, other := range n.Checks {
			if other.ServiceID == "" || other.ServiceID == def.AliasService {
				list = append(list, other.CheckRecord)
			}
		}
	}
	slices.SortFunc(list, func(a, b *state.CheckRecord) int { return strings.Compare(a.CheckID, b.CheckID) })
	return list
}

// hasService reports whether a service is on a node, or on the agent.
func (a *Agent) hasService(nodeName, id string) bool {
	if nodeName == "" {
		return a.Services[id] != nil
	}
	n := a.Store.Node(nodeName)
	return n != nil && n.Services[strings.ToLower(id)] != nil
}
