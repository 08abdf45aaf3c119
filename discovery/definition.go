package discovery

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/lictor-go/consul"
)

// definition is what a registration keeps in the agent.
type definition struct {
	reg    *consul.AgentServiceRegistration
	ttls   []string      // the IDs of the TTL checks
	checks []string      // the IDs of all checks
	ttl    time.Duration // the shortest
}

// minTTL is the shortest TTL of a check. It bounds how often there are heartbeats,
// and nobody means nanoseconds.
const minTTL = 100 * time.Millisecond

// newDefinition returns a definition that shares nothing with reg. Its checks
// are in one list and have the IDs that the agent would give them, so that they
// can be updated and recognised. If reg has none, a TTL check is added unless
// ttl is negative.
func newDefinition(reg *consul.AgentServiceRegistration, ttl time.Duration) (*definition, error) {
	d := &definition{reg: cloneRegistration(reg)}
	if d.reg.ID == "" {
		d.reg.ID = d.reg.Name
	}
	// Without it, checks of an earlier definition would stay, expire, and take
	// the instance out of service.
	d.reg.ReplaceExistingChecks = true
	if len(d.reg.Checks) == 0 && ttl >= 0 {
		d.reg.Checks = []*consul.AgentServiceCheck{{
			TTL:                            positive(ttl, defaultTTL),
			DeregisterCriticalServiceAfter: max(defaultDeregisterAfter, 10*ttl),
		}}
	}
	for i, check := range d.reg.Checks {
		if check.CheckID == "" {
			check.CheckID = "service:" + d.reg.ID
			if len(d.reg.Checks) > 1 {
				check.CheckID = fmt.Sprintf("service:%s:%d", d.reg.ID, i+1)
			}
		}
		if slices.Contains(d.checks, check.CheckID) {
			return nil, fmt.Errorf("discovery: service %q has two checks with the ID %q", d.reg.ID, check.CheckID)
		}
		d.checks = append(d.checks, check.CheckID)
		if check.TTL > 0 {
			if check.TTL < minTTL {
				return nil, fmt.Errorf("discovery: check TTL is %s; want at least %s (is the unit missing?)", check.TTL, minTTL)
			}
			if err := checkStatus(check.Status); err != nil && check.Status != "" {
				return nil, fmt.Errorf("discovery: %w", err)
			}
			d.ttls = append(d.ttls, check.CheckID)
			if d.ttl == 0 || check.TTL < d.ttl {
				d.ttl = check.TTL
			}
		}
	}
	return d, nil
}

// initialStatus returns the status that the TTL checks say to start with: the
// worst of them, or passing if they say none.
func (d *definition) initialStatus() consul.HealthStatus {
	status := consul.HealthPassing
	for _, check := range d.reg.Checks {
		if check.TTL > 0 && check.Status != "" {
			status = worse(status, check.Status)
		}
	}
	return status
}

// hasOtherChecks reports whether there are checks that no heartbeat is about.
func (d *definition) hasOtherChecks() bool { return len(d.ttls) < len(d.checks) }

// withStatus returns the definition to be sent while the service has the status.
// The TTL checks start with it, so that there is no moment at which a healthy
// instance is critical.
func (d *definition) withStatus(status consul.HealthStatus) *consul.AgentServiceRegistration {
	reg := *d.reg
	reg.Checks = slices.Clone(reg.Checks)
	for i, check := range reg.Checks {
		if check.TTL > 0 {
			c := *check
			c.Status = status
			reg.Checks[i] = &c
		}
	}
	return &reg
}

// cloneRegistration returns a deep copy. Check and Checks, which count together,
// become one list, without those that say nothing: agents ignore an empty Check.
func cloneRegistration(r *consul.AgentServiceRegistration) *consul.AgentServiceRegistration {
	c := *r
	c.Tags = slices.Clone(r.Tags)
	c.TaggedAddresses = maps.Clone(r.TaggedAddresses)
	c.Meta = maps.Clone(r.Meta)
	c.Weights = clonePointer(r.Weights)
	c.Locality = clonePointer(r.Locality)
	c.Proxy = slices.Clone(r.Proxy)
	if c.Connect = clonePointer(r.Connect); c.Connect != nil {
		c.Connect.SidecarService = slices.Clone(r.Connect.SidecarService)
		c.Connect.PeerMeta = slices.Clone(r.Connect.PeerMeta)
	}
	c.Check, c.Checks = nil, nil
	for _, check := range append([]*consul.AgentServiceCheck{r.Check}, r.Checks...) {
		if check == nil || reflect.ValueOf(*check).IsZero() {
			continue
		}
		k := *check
		k.Args = slices.Clone(check.Args)
		k.Header = maps.Clone(check.Header)
		for name, values := range k.Header {
			k.Header[name] = slices.Clone(values)
		}
		c.Checks = append(c.Checks, &k)
	}
	return &c
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
