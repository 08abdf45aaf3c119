package consul

import (
	"bytes"
	"encoding/json"
	"errors"
)

// This file decodes the answers that grow with a fleet, and that all its members
// read again whenever something changes: the instances and the checks of
// services, and the catalog's lists. What comes out is what encoding/json makes
// of the same bytes, be they odd (repeated fields, names in another case, broken
// text) or not; it only comes out several times faster. All other answers are
// left to encoding/json.
//
// To decode another field, add a case to the switch of its type. Names are in
// lower case there.

// decodeHot decodes an answer if out points to a nil value of one of the types
// of this file, and else reports that it does not know it.
func decodeHot(data []byte, out any) (known bool, err *decodeError) {
	d := decoder{data: data}
	switch out := out.(type) {
	case *[]*ServiceEntry:
		if known = *out == nil; known {
			list(&d, out, (*decoder).serviceEntry)
		}
	case *HealthChecks:
		if known = *out == nil; known {
			list(&d, (*[]*HealthCheck)(out), (*decoder).healthCheck)
		}
	case *[]*CatalogService:
		if known = *out == nil; known {
			list(&d, out, (*decoder).catalogService)
		}
	case *map[string][]string:
		if known = *out == nil; known {
			dict(&d, out, (*decoder).stringsValue)
		}
	}
	if known {
		d.end()
	}
	return known, d.err
}

// allocated makes a pointer ready for the decoding of what it points to. Where
// it is nil, it gets fresh, or something new if that is nil too. It reports
// whether there is something to decode.
func allocated[T any](d *decoder, p **T, fresh *T) bool {
	switch {
	case d.null():
		*p = nil
		return false
	case *p != nil:
	case fresh != nil:
		var zero T
		*fresh, *p = zero, fresh
	default:
		*p = new(T)
	}
	return true
}

func (d *decoder) serviceEntry(p **ServiceEntry) {
	if d.null() {
		*p = nil
		return
	}
	// One allocation for what is rarely kept apart.
	instance := new(struct {
		ServiceEntry
		node    Node
		service AgentService
		connect AgentServiceConnect
	})
	e := &instance.ServiceEntry
	*p = e
	for name := range d.object {
		switch string(d.lower(name)) {
		case "node":
			if allocated(d, &e.Node, &instance.node) {
				d.node(e.Node)
			}
		case "service":
			if allocated(d, &e.Service, &instance.service) {
				d.agentService(e.Service, &instance.connect)
			}
		case "checks":
			d.healthChecks(&e.Checks)
		default:
			d.skip()
		}
	}
}

func (d *decoder) node(n *Node) {
	for name := range d.object {
		switch string(d.lower(name)) {
		case "id":
			d.text(&n.ID)
		case "node":
			d.text(&n.Node)
		case "address":
			d.text(&n.Address)
		case "datacenter":
			d.text(&n.Datacenter)
		case "partition":
			d.text(&n.Partition)
		case "peername":
			d.text(&n.PeerName)
		case "taggedaddresses":
			dict(d, &n.TaggedAddresses, (*decoder).textValue)
		case "meta":
			dict(d, &n.Meta, (*decoder).textValue)
		case "locality":
			d.locality(&n.Locality)
		case "createindex":
			d.uint64(&n.CreateIndex)
		case "modifyindex":
			d.uint64(&n.ModifyIndex)
		default:
			d.skip()
		}
	}
}

func (d *decoder) agentService(s *AgentService, connect *AgentServiceConnect) {
	for name := range d.object {
		switch string(d.lower(name)) {
		case "kind":
			d.text(&s.Kind)
		case "id":
			d.text(&s.ID)
		case "service":
			d.text(&s.Service)
		case "tags":
			d.strings(&s.Tags)
		case "meta":
			dict(d, &s.Meta, (*decoder).textValue)
		case "port":
			d.int(&s.Port)
		case "address":
			d.text(&s.Address)
		case "socketpath":
			d.text(&s.SocketPath)
		case "taggedaddresses":
			dict(d, &s.TaggedAddresses, (*decoder).serviceAddress)
		case "weights":
			d.weights(&s.Weights)
		case "enabletagoverride":
			d.bool(&s.EnableTagOverride)
		case "proxy":
			d.raw(&s.Proxy)
		case "connect":
			d.connect(&s.Connect, connect)
		case "peername":
			d.text(&s.PeerName)
		case "namespace":
			d.text(&s.Namespace)
		case "partition":
			d.text(&s.Partition)
		case "locality":
			d.locality(&s.Locality)
		case "contenthash":
			d.text(&s.ContentHash)
		case "datacenter":
			d.text(&s.Datacenter)
		case "createindex":
			d.uint64(&s.CreateIndex)
		case "modifyindex":
			d.uint64(&s.ModifyIndex)
		default:
			d.skip()
		}
	}
}

func (d *decoder) weights(w *AgentWeights) {
	for name := range d.object {
		switch string(d.lower(name)) {
		case "passing":
			d.int(&w.Passing)
		case "warning":
			d.int(&w.Warning)
		default:
			d.skip()
		}
	}
}

func (d *decoder) serviceAddress() (a ServiceAddress) {
	for name := range d.object {
		switch string(d.lower(name)) {
		case "address":
			d.text(&a.Address)
		case "port":
			d.int(&a.Port)
		default:
			d.skip()
		}
	}
	return a
}

func (d *decoder) connect(p **AgentServiceConnect, fresh *AgentServiceConnect) {
	if !allocated(d, p, fresh) {
		return
	}
	c := *p
	for name := range d.object {
		switch string(d.lower(name)) {
		case "native":
			d.bool(&c.Native)
		case "sidecarservice":
			d.raw(&c.SidecarService)
		case "peermeta":
			d.raw(&c.PeerMeta)
		default:
			d.skip()
		}
	}
}

func (d *decoder) locality(p **Locality) {
	if !allocated(d, p, nil) {
		return
	}
	l := *p
	for name := range d.object {
		switch string(d.lower(name)) {
		case "region":
			d.text(&l.Region)
		case "zone":
			d.text(&l.Zone)
		default:
			d.skip()
		}
	}
}

// healthChecks reads the checks of an instance, which are mostly two: its node's
// and its own. They share an allocation.
func (d *decoder) healthChecks(cs *HealthChecks) {
	if *cs == nil {
		pair := new(struct {
			list   [2]*HealthCheck
			checks [2]HealthCheck
		})
		*cs, d.checks = pair.list[:0], pair.checks[:]
	}
	list(d, (*[]*HealthCheck)(cs), (*decoder).healthCheck)
}

func (d *decoder) healthCheck(p **HealthCheck) {
	var fresh *HealthCheck
	if len(d.checks) > 0 {
		fresh, d.checks = &d.checks[0], d.checks[1:]
	}
	if !allocated(d, p, fresh) {
		return
	}
	c := *p
	for name := range d.object {
		switch string(d.lower(name)) {
		case "node":
			d.text(&c.Node)
		case "checkid":
			d.text(&c.CheckID)
		case "name":
			d.text(&c.Name)
		case "status":
			d.text((*string)(&c.Status))
		case "notes":
			d.text(&c.Notes)
		case "output":
			d.text(&c.Output)
		case "serviceid":
			d.text(&c.ServiceID)
		case "servicename":
			d.text(&c.ServiceName)
		case "servicetags":
			d.strings(&c.ServiceTags)
		case "type":
			d.text(&c.Type)
		case "namespace":
			d.text(&c.Namespace)
		case "partition":
			d.text(&c.Partition)
		case "peername":
			d.text(&c.PeerName)
		case "exposedport":
			d.int(&c.ExposedPort)
		case "interval":
			d.duration(&c.Interval)
		case "timeout":
			d.duration(&c.Timeout)
		case "definition":
			d.definition(&c.Definition)
		case "createindex":
			d.uint64(&c.CreateIndex)
		case "modifyindex":
			d.uint64(&c.ModifyIndex)
		default:
			d.skip()
		}
	}
	c.dropEmptyDefinition()
}

// definition leaves a definition that is not empty, which is rare, to
// encoding/json.
func (d *decoder) definition(p **HealthCheckDefinition) {
	data := d.value()
	if d.err != nil || *p == nil && bytes.Equal(data, []byte("{}")) {
		return
	}
	start := d.pos - len(data)
	var kind *json.UnmarshalTypeError
	switch err := json.Unmarshal(data, p); {
	case errors.As(err, &kind):
		d.fail(start+int(kind.Offset), err.Error())
	case err != nil:
		d.fail(start, err.Error())
	}
}

func (d *decoder) catalogService(p **CatalogService) {
	if d.null() {
		*p = nil
		return
	}
	instance := new(struct {
		CatalogService
		connect AgentServiceConnect
	})
	s := &instance.CatalogService
	*p = s
	for name := range d.object {
		switch string(d.lower(name)) {
		case "id":
			d.text(&s.ID)
		case "node":
			d.text(&s.Node)
		case "address":
			d.text(&s.Address)
		case "datacenter":
			d.text(&s.Datacenter)
		case "taggedaddresses":
			dict(d, &s.TaggedAddresses, (*decoder).textValue)
		case "nodemeta":
			dict(d, &s.NodeMeta, (*decoder).textValue)
		case "servicekind":
			d.text(&s.ServiceKind)
		case "serviceid":
			d.text(&s.ServiceID)
		case "servicename":
			d.text(&s.ServiceName)
		case "servicetags":
			d.strings(&s.ServiceTags)
		case "serviceaddress":
			d.text(&s.ServiceAddress)
		case "servicetaggedaddresses":
			dict(d, &s.ServiceTaggedAddresses, (*decoder).serviceAddress)
		case "serviceweights":
			d.weights(&s.ServiceWeights)
		case "servicemeta":
			dict(d, &s.ServiceMeta, (*decoder).textValue)
		case "serviceport":
			d.int(&s.ServicePort)
		case "servicesocketpath":
			d.text(&s.ServiceSocketPath)
		case "serviceenabletagoverride":
			d.bool(&s.ServiceEnableTagOverride)
		case "serviceproxy":
			d.raw(&s.ServiceProxy)
		case "serviceconnect":
			d.connect(&s.ServiceConnect, &instance.connect)
		case "servicelocality":
			d.locality(&s.ServiceLocality)
		case "peername":
			d.text(&s.PeerName)
		case "namespace":
			d.text(&s.Namespace)
		case "partition":
			d.text(&s.Partition)
		case "createindex":
			d.uint64(&s.CreateIndex)
		case "modifyindex":
			d.uint64(&s.ModifyIndex)
		default:
			d.skip()
		}
	}
}
