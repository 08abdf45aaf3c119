package discovery

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/pace"
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
	if err := checkID("service ID", d.reg.ID); err != nil {
		return nil, err
	}
	// Without it, checks of an earlier definition would stay, expire, and take
	// the instance out of service.
	d.reg.ReplaceExistingChecks = true
	if len(d.reg.Checks) == 0 && ttl >= 0 {
		d.reg.Checks = []*consul.AgentServiceCheck{{
			TTL:                            pace.Positive(ttl, defaultTTL),
			DeregisterCriticalServiceAfter: max(defaultDeregisterAfter, 10*min(ttl, math.MaxInt64/10)),
		}}
	}
	for i, check := range d.reg.Checks {
		if check.CheckID == "" {
			check.CheckID = "service:" + d.reg.ID
			if len(d.reg.Checks) > 1 {
				check.CheckID = fmt.Sprintf("service:%s:%d", d.reg.ID, i+1)
			}
		}
		if err := d.addCheck(check); err != nil {
			return nil, err
		}
	}
	if _, err := json.Marshal(d.reg); err != nil { // it has raw JSON in it
		return nil, fmt.Errorf("discovery: service %q: %w", d.reg.ID, err)
	}
	return d, nil
}

// addCheck adds what there is to know about a check of the definition.
func (d *definition) addCheck(check *consul.AgentServiceCheck) error {
	if err := checkID("check ID", check.CheckID); err != nil {
		return err
	}
	if slices.Contains(d.checks, check.CheckID) {
		return fmt.Errorf("discovery: service %q has two checks with the ID %q", d.reg.ID, check.CheckID)
	}
	d.checks = append(d.checks, check.CheckID)
	if check.TTL <= 0 {
		return nil
	}
	if check.TTL < minTTL {
		return fmt.Errorf("discovery: check TTL is %s; want at least %s (is the unit missing?)", check.TTL, minTTL)
	}
	if err := checkStatus(check.Status); err != nil && check.Status != "" {
		return fmt.Errorf("discovery: %w", err)
	}
	d.ttls = append(d.ttls, check.CheckID)
	if d.ttl == 0 || check.TTL < d.ttl {
		d.ttl = check.TTL
	}
	return nil
}

// checkID returns an error if no path can hold an ID: agents would register the
// service, but neither update the check nor deregister the service.
func checkID(what, id string) error {
	if !utf8.ValidString(id) || strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("discovery: %s %q: want printable characters", what, id)
	}
	for _, element := range strings.Split(id, "/") {
		if element == "." || element == ".." {
			return fmt.Errorf("discovery: %s %q: want no element . or .. between slashes", what, id)
		}
	}
	return nil
}

// replaces returns an error if the definition is not one of the same service
// instance as the old one.
func (d *definition) replaces(old *definition) error {
	for _, part := range []struct{ what, now, before string }{
		{"ID", d.reg.ID, old.reg.ID},
		{"namespace", d.reg.Namespace, old.reg.Namespace},
		{"partition", d.reg.Partition, old.reg.Partition},
	} {
		if part.now != part.before {
			return fmt.Errorf("the new %s is %q, want %q", part.what, part.now, part.before)
		}
	}
	return nil
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

// hasOtherChecks reports whether there are checks without a heartbeat.
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
