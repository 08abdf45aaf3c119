package consul

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

// This file holds the JSON forms that differ from our types. Durations are
// strings on the wire. Optional fields are left out when zero, because agents
// refuse a request with a field that they do not know.
//
// Each form embeds the type under a name without methods and shadows what
// differs, so that a new ordinary field needs no line here.

// wireDuration is a duration as agents write it: a string of Go's form, which
// may be empty, or a number of nanoseconds.
type wireDuration time.Duration

func (d wireDuration) MarshalText() ([]byte, error) {
	return []byte(time.Duration(d).String()), nil
}

func (d *wireDuration) UnmarshalJSON(data []byte) error {
	if len(data) == 0 || data[0] != '"' {
		return json.Unmarshal(data, (*int64)(d))
	}
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	v, err := parseWireDuration(s)
	if err == nil {
		*d = wireDuration(v)
	}
	return err
}

// parseWireDuration reads a duration string of an agent. Empty means 0.
func parseWireDuration(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("duration %q: want a string such as \"10s\"", shorten(s, maxErrorSnippet))
	}
	return d, nil
}

type (
	healthCheckFields HealthCheck
	healthCheckWire   struct {
		*healthCheckFields
		Interval wireDuration `json:",omitempty"`
		Timeout  wireDuration `json:",omitempty"`
	}
)

// MarshalJSON implements [json.Marshaler].
func (c HealthCheck) MarshalJSON() ([]byte, error) {
	return json.Marshal(healthCheckWire{
		healthCheckFields: (*healthCheckFields)(&c),
		Interval:          wireDuration(c.Interval),
		Timeout:           wireDuration(c.Timeout),
	})
}

// UnmarshalJSON implements [json.Unmarshaler]. A duration may be a string or a
// number of nanoseconds.
func (c *HealthCheck) UnmarshalJSON(data []byte) error {
	w := healthCheckWire{
		healthCheckFields: (*healthCheckFields)(c),
		Interval:          wireDuration(c.Interval),
		Timeout:           wireDuration(c.Timeout),
	}
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	c.Interval, c.Timeout = time.Duration(w.Interval), time.Duration(w.Timeout)
	c.dropEmptyDefinition()
	return nil
}

func (c *HealthCheck) dropEmptyDefinition() {
	if c.Definition != nil && reflect.ValueOf(*c.Definition).IsZero() {
		c.Definition = nil
	}
}

type (
	definitionFields HealthCheckDefinition
	definitionWire   struct {
		*definitionFields
		TTL                            wireDuration `json:",omitempty"`
		Interval                       wireDuration `json:",omitempty"`
		Timeout                        wireDuration `json:",omitempty"`
		DeregisterCriticalServiceAfter wireDuration `json:",omitempty"`
	}
)

func (d *HealthCheckDefinition) wire() definitionWire {
	return definitionWire{
		definitionFields:               (*definitionFields)(d),
		TTL:                            wireDuration(d.TTL),
		Interval:                       wireDuration(d.Interval),
		Timeout:                        wireDuration(d.Timeout),
		DeregisterCriticalServiceAfter: wireDuration(d.DeregisterCriticalServiceAfter),
	}
}

// MarshalJSON implements [json.Marshaler].
func (d HealthCheckDefinition) MarshalJSON() ([]byte, error) {
	return json.Marshal(d.wire())
}

// UnmarshalJSON implements [json.Unmarshaler]. A duration may be a string or a
// number of nanoseconds.
func (d *HealthCheckDefinition) UnmarshalJSON(data []byte) error {
	w := d.wire()
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	d.TTL = time.Duration(w.TTL)
	d.Interval = time.Duration(w.Interval)
	d.Timeout = time.Duration(w.Timeout)
	d.DeregisterCriticalServiceAfter = time.Duration(w.DeregisterCriticalServiceAfter)
	return nil
}

type (
	serviceCheckFields AgentServiceCheck
	serviceCheckWire   struct {
		*serviceCheckFields
		TTL                            wireDuration `json:",omitempty"`
		Interval                       wireDuration `json:",omitempty"`
		Timeout                        wireDuration `json:",omitempty"`
		DeregisterCriticalServiceAfter wireDuration `json:",omitempty"`

		// Sent with every H2PING check, because agents take its absence for true.
		H2PingUseTLS *bool `json:",omitempty"`
	}
)

func (c *AgentServiceCheck) wire() serviceCheckWire {
	w := serviceCheckWire{
		serviceCheckFields:             (*serviceCheckFields)(c),
		TTL:                            wireDuration(c.TTL),
		Interval:                       wireDuration(c.Interval),
		Timeout:                        wireDuration(c.Timeout),
		DeregisterCriticalServiceAfter: wireDuration(c.DeregisterCriticalServiceAfter),
	}
	if c.H2PING != "" || c.H2PingUseTLS {
		w.H2PingUseTLS = &c.H2PingUseTLS
	}
	return w
}

func (c *AgentServiceCheck) setWire(w serviceCheckWire) {
	c.TTL = time.Duration(w.TTL)
	c.Interval = time.Duration(w.Interval)
	c.Timeout = time.Duration(w.Timeout)
	c.DeregisterCriticalServiceAfter = time.Duration(w.DeregisterCriticalServiceAfter)
	c.H2PingUseTLS = c.H2PING != ""
	if w.H2PingUseTLS != nil {
		c.H2PingUseTLS = *w.H2PingUseTLS
	}
}

// MarshalJSON implements [json.Marshaler].
func (c AgentServiceCheck) MarshalJSON() ([]byte, error) {
	return json.Marshal(c.wire())
}

// UnmarshalJSON implements [json.Unmarshaler]. A duration may be a string or a
// number of nanoseconds. As for agents, H2PingUseTLS is true if an H2PING check
// does not have it. It also reads the names that definition files have, such as
// id for CheckID and deregister_critical_service_after.
func (c *AgentServiceCheck) UnmarshalJSON(data []byte) error {
	w := c.wire()
	w.H2PingUseTLS = nil
	if err := json.Unmarshal(withFieldNames(data, serviceCheckNames()), &w); err != nil {
		return err
	}
	c.setWire(w)
	return nil
}

// checkRegistrationWire has ID where the check of a service has CheckID, which
// check/register does not know.
type checkRegistrationWire struct {
	ID        string `json:",omitempty"`
	CheckID   string `json:",omitempty"`
	Name      string
	Notes     string `json:",omitempty"`
	ServiceID string `json:",omitempty"`
	Namespace string `json:",omitempty"`
	Partition string `json:",omitempty"`
	serviceCheckWire
}

// MarshalJSON implements [json.Marshaler].
func (r AgentCheckRegistration) MarshalJSON() ([]byte, error) {
	first := func(a, b string) string {
		if a != "" {
			return a
		}
		return b
	}
	return json.Marshal(checkRegistrationWire{
		ID:               first(r.ID, r.CheckID),
		Name:             first(r.Name, r.AgentServiceCheck.Name),
		Notes:            first(r.Notes, r.AgentServiceCheck.Notes),
		ServiceID:        r.ServiceID,
		Namespace:        r.Namespace,
		Partition:        r.Partition,
		serviceCheckWire: r.AgentServiceCheck.wire(),
	})
}

// UnmarshalJSON implements [json.Unmarshaler]. A duration may be a string or a
// number of nanoseconds. It also reads the names that definition files have, such
// as service_id and deregister_critical_service_after.
func (r *AgentCheckRegistration) UnmarshalJSON(data []byte) error {
	w := checkRegistrationWire{
		ID: r.ID, CheckID: r.CheckID, Name: r.Name, Notes: r.Notes,
		ServiceID: r.ServiceID, Namespace: r.Namespace, Partition: r.Partition,
		serviceCheckWire: r.AgentServiceCheck.wire(),
	}
	w.H2PingUseTLS = nil
	if err := json.Unmarshal(withFieldNames(data, checkRegistrationNames()), &w); err != nil {
		return err
	}
	r.ID, r.Name, r.Notes = w.ID, w.Name, w.Notes
	r.ServiceID, r.Namespace, r.Partition = w.ServiceID, w.Namespace, w.Partition
	r.AgentServiceCheck.setWire(w.serviceCheckWire)
	r.CheckID = w.CheckID
	return nil
}

// catalogServiceWire is a service in a catalog registration: without what only
// agents return of a service, and without weights that are not set.
type catalogServiceWire struct {
	*AgentService
	Weights     *AgentWeights `json:",omitempty"`
	ContentHash string        `json:",omitempty"`
	Datacenter  string        `json:",omitempty"`
}

// MarshalJSON implements [json.Marshaler].
func (r CatalogRegistration) MarshalJSON() ([]byte, error) {
	type fields CatalogRegistration
	w := struct {
		*fields
		Service *catalogServiceWire `json:",omitempty"`
	}{fields: (*fields)(&r)}
	if r.Service != nil {
		w.Service = &catalogServiceWire{AgentService: r.Service}
		if r.Service.Weights != (AgentWeights{}) {
			w.Service.Weights = &r.Service.Weights
		}
	}
	return json.Marshal(w)
}
