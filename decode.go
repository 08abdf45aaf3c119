package consul

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// This file decodes responses. Those that grow with a fleet, and that all its
// members read again whenever something changes, have decoders of their own: the
// instances and the checks of services, and the catalog's lists. What comes out is
// what encoding/json makes of the same bytes, be they odd (repeated fields, names
// in another case, broken text) or not; it only comes out several times faster. All
// other responses are left to encoding/json.
//
// To decode another field, add a case to the switch of its type.

// decode decodes a response into out, or returns what it is instead of JSON.
func decode(data []byte, media string, out any) error {
	d := decoder{data: data}
	if known := d.typed(out); !known {
		d.reflect(out)
	}
	return d.problem(media)
}

// problem returns what is wrong with a response that has been decoded.
func (d *decoder) problem(media string) error {
	switch {
	case len(d.data) == 0:
		return errors.New("decoding the response: it is empty; want JSON")
	case d.err == nil:
		return nil
	}
	where := ""
	if d.err.position > 0 {
		where = fmt.Sprintf(" at byte %d of %d", d.err.position, len(d.data))
	}
	if media != "" && media != "application/json" {
		where += " (its type is " + shorten(media, maxErrorSnippet) + ")"
	}
	return fmt.Errorf("decoding the response%s: %w; it starts with %q", where, d.err, shorten(string(d.data), maxErrorSnippet))
}

// reflect decodes all of a response with encoding/json.
func (d *decoder) reflect(out any) {
	err := json.Unmarshal(d.data, out)
	if err == nil {
		return
	}
	d.err = &decodeError{what: shorten(err.Error(), maxErrorMessage), cause: err}
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		d.err.position = int(syntax.Offset)
	case errors.As(err, &kind):
		d.err.position = int(kind.Offset)
	}
}

// typed decodes all of a response if out points to a nil value of one of the
// types of this file, and else reports that it does not know it.
func (d *decoder) typed(out any) (known bool) {
	switch out := out.(type) {
	case *[]*ServiceEntry:
		if known = *out == nil; known {
			list(d, out, (*decoder).serviceEntry)
		}
	case *HealthChecks:
		if known = *out == nil; known {
			list(d, (*[]*HealthCheck)(out), (*decoder).healthCheck)
		}
	case *[]*CatalogService:
		if known = *out == nil; known {
			list(d, out, (*decoder).catalogService)
		}
	case *[]*Node:
		if known = *out == nil; known {
			list(d, out, (*decoder).catalogNode)
		}
	case *[]*KVPair:
		if known = *out == nil; known {
			list(d, out, (*decoder).kvPair)
		}
	case *map[string][]string:
		if known = *out == nil; known {
			dict(d, out, (*decoder).stringsValue)
		}
	}
	if known {
		d.end()
	}
	return known
}

// fieldNames are the names of all fields that are decoded here, by what
// foldLetter makes of them.
var fieldNames = sync.OnceValue(func() map[string][]byte {
	names := map[string][]byte{}
	for _, t := range []any{
		ServiceEntry{}, Node{}, AgentService{}, AgentWeights{}, ServiceAddress{}, AgentServiceConnect{}, Locality{},
		HealthCheck{}, CatalogService{}, KVPair{},
	} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(t)) {
			names[strings.Map(foldLetter, f.Name)] = []byte(f.Name)
		}
	}
	return names
})

// allocated makes a pointer ready for the decoding of what it points to. Where
// it is nil, it gets the spare, which is used up then, or something new. It
// reports whether there is something to decode.
func allocated[T any](d *decoder, p, spare **T) bool {
	switch {
	case d.null():
		*p = nil
		return false
	case *p != nil:
	case *spare != nil:
		*p, *spare = *spare, nil
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
	// One allocation for what is rarely kept apart. Most instances have two
	// checks: their node's, and one of their own.
	instance := new(struct {
		ServiceEntry
		node    Node
		service AgentService
		connect AgentServiceConnect
		checks  [2]HealthCheck
		list    [2]*HealthCheck
	})
	e, node, service, connect := &instance.ServiceEntry, &instance.node, &instance.service, &instance.connect
	hasChecks := false
	*p = e
	for name := d.object(); name != nil; name = d.nextName() {
		switch string(name) {
		case "Node":
			if allocated(d, &e.Node, &node) {
				d.node(e.Node)
			}
		case "Service":
			if allocated(d, &e.Service, &service) {
				d.agentService(e.Service, &connect)
			}
		case "Checks":
			if !hasChecks { // a second list must not find the first one there
				e.Checks, d.checks, hasChecks = instance.list[:0], instance.checks[:], true
			}
			list(d, (*[]*HealthCheck)(&e.Checks), (*decoder).healthCheck)
		default:
			d.unknown(name)
		}
	}
}

func (d *decoder) catalogNode(p **Node) {
	if allocated(d, p, new(*Node)) {
		d.node(*p)
	}
}

func (d *decoder) node(n *Node) {
	for name := d.object(); name != nil; name = d.nextName() {
		switch string(name) {
		case "ID":
			d.text(&n.ID)
		case "Node":
			d.text(&n.Node)
		case "Address":
			d.text(&n.Address)
		case "Datacenter":
			d.text(&n.Datacenter)
		case "Partition":
			d.text(&n.Partition)
		case "PeerName":
			d.text(&n.PeerName)
		case "TaggedAddresses":
			dict(d, &n.TaggedAddresses, (*decoder).textValue)
		case "Meta":
			dict(d, &n.Meta, (*decoder).textValue)
		case "Locality":
			d.locality(&n.Locality)
		case "CreateIndex":
			d.uint64(&n.CreateIndex)
		case "ModifyIndex":
			d.uint64(&n.ModifyIndex)
		default:
			d.unknown(name)
		}
	}
}

func (d *decoder) agentService(s *AgentService, connect **AgentServiceConnect) {
	for name := d.object(); name != nil; name = d.nextName() {
		switch string(name) {
		case "Kind":
			d.text(&s.Kind)
		case "ID":
			d.text(&s.ID)
		case "Service":
			d.text(&s.Service)
		case "Tags":
			d.strings(&s.Tags)
		case "Meta":
			dict(d, &s.Meta, (*decoder).textValue)
		case "Port":
			d.int(&s.Port)
		case "Address":
			d.text(&s.Address)
		case "SocketPath":
			d.text(&s.SocketPath)
		case "TaggedAddresses":
			dict(d, &s.TaggedAddresses, (*decoder).serviceAddress)
		case "Weights":
			d.weights(&s.Weights)
		case "EnableTagOverride":
			d.bool(&s.EnableTagOverride)
		case "Proxy":
			d.raw(&s.Proxy)
		case "Connect":
			d.connect(&s.Connect, connect)
		case "PeerName":
			d.text(&s.PeerName)
		case "Namespace":
			d.text(&s.Namespace)
		case "Partition":
			d.text(&s.Partition)
		case "Locality":
			d.locality(&s.Locality)
		case "ContentHash":
			d.text(&s.ContentHash)
		case "Datacenter":
			d.text(&s.Datacenter)
		case "CreateIndex":
			d.uint64(&s.CreateIndex)
		case "ModifyIndex":
			d.uint64(&s.ModifyIndex)
		default:
			d.unknown(name)
		}
	}
}

func (d *decoder) weights(w *AgentWeights) {
	for name := d.object(); name != nil; name = d.nextName() {
		switch string(name) {
		case "Passing":
			d.int(&w.Passing)
		case "Warning":
			d.int(&w.Warning)
		default:
			d.unknown(name)
		}
	}
}

func (d *decoder) serviceAddress() (a ServiceAddress) {
	for name := d.object(); name != nil; name = d.nextName() {
		switch string(name) {
		case "Address":
			d.text(&a.Address)
		case "Port":
			d.int(&a.Port)
		default:
			d.unknown(name)
		}
	}
	return a
}

func (d *decoder) connect(p, spare **AgentServiceConnect) {
	if !allocated(d, p, spare) {
		return
	}
	c := *p
	for name := d.object(); name != nil; name = d.nextName() {
		switch string(name) {
		case "Native":
			d.bool(&c.Native)
		case "SidecarService":
			d.raw(&c.SidecarService)
		case "PeerMeta":
			d.raw(&c.PeerMeta)
		default:
			d.unknown(name)
		}
	}
}

func (d *decoder) locality(p **Locality) {
	if !allocated(d, p, new(*Locality)) {
		return
	}
	l := *p
	for name := d.object(); name != nil; name = d.nextName() {
		switch string(name) {
		case "Region":
			d.text(&l.Region)
		case "Zone":
			d.text(&l.Zone)
		default:
			d.unknown(name)
		}
	}
}

func (d *decoder) healthCheck(p **HealthCheck) {
	var spare *HealthCheck
	if len(d.checks) > 0 {
		spare, d.checks = &d.checks[0], d.checks[1:]
	}
	if !allocated(d, p, &spare) {
		return
	}
	c := *p
	for name := d.object(); name != nil; name = d.nextName() {
		switch string(name) {
		case "Node":
			d.text(&c.Node)
		case "CheckID":
			d.text(&c.CheckID)
		case "Name":
			d.text(&c.Name)
		case "Status":
			d.text((*string)(&c.Status))
		case "Notes":
			d.text(&c.Notes)
		case "Output":
			d.text(&c.Output)
		case "ServiceID":
			d.text(&c.ServiceID)
		case "ServiceName":
			d.text(&c.ServiceName)
		case "ServiceTags":
			d.strings(&c.ServiceTags)
		case "Type":
			d.text(&c.Type)
		case "Namespace":
			d.text(&c.Namespace)
		case "Partition":
			d.text(&c.Partition)
		case "PeerName":
			d.text(&c.PeerName)
		case "ExposedPort":
			d.int(&c.ExposedPort)
		case "Interval":
			d.duration(&c.Interval)
		case "Timeout":
			d.duration(&c.Timeout)
		case "Definition":
			d.definition(&c.Definition)
		case "CreateIndex":
			d.uint64(&c.CreateIndex)
		case "ModifyIndex":
			d.uint64(&c.ModifyIndex)
		default:
			d.unknown(name)
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
	s, connect := &instance.CatalogService, &instance.connect
	*p = s
	for name := d.object(); name != nil; name = d.nextName() {
		switch string(name) {
		case "ID":
			d.text(&s.ID)
		case "Node":
			d.text(&s.Node)
		case "Address":
			d.text(&s.Address)
		case "Datacenter":
			d.text(&s.Datacenter)
		case "TaggedAddresses":
			dict(d, &s.TaggedAddresses, (*decoder).textValue)
		case "NodeMeta":
			dict(d, &s.NodeMeta, (*decoder).textValue)
		case "ServiceKind":
			d.text(&s.ServiceKind)
		case "ServiceID":
			d.text(&s.ServiceID)
		case "ServiceName":
			d.text(&s.ServiceName)
		case "ServiceTags":
			d.strings(&s.ServiceTags)
		case "ServiceAddress":
			d.text(&s.ServiceAddress)
		case "ServiceTaggedAddresses":
			dict(d, &s.ServiceTaggedAddresses, (*decoder).serviceAddress)
		case "ServiceWeights":
			d.weights(&s.ServiceWeights)
		case "ServiceMeta":
			dict(d, &s.ServiceMeta, (*decoder).textValue)
		case "ServicePort":
			d.int(&s.ServicePort)
		case "ServiceSocketPath":
			d.text(&s.ServiceSocketPath)
		case "ServiceEnableTagOverride":
			d.bool(&s.ServiceEnableTagOverride)
		case "ServiceProxy":
			d.raw(&s.ServiceProxy)
		case "ServiceConnect":
			d.connect(&s.ServiceConnect, &connect)
		case "ServiceLocality":
			d.locality(&s.ServiceLocality)
		case "PeerName":
			d.text(&s.PeerName)
		case "Namespace":
			d.text(&s.Namespace)
		case "Partition":
			d.text(&s.Partition)
		case "CreateIndex":
			d.uint64(&s.CreateIndex)
		case "ModifyIndex":
			d.uint64(&s.ModifyIndex)
		default:
			d.unknown(name)
		}
	}
}

func (d *decoder) kvPair(p **KVPair) {
	if !allocated(d, p, new(*KVPair)) {
		return
	}
	k := *p
	for name := d.object(); name != nil; name = d.nextName() {
		switch string(name) {
		case "Key":
			d.text(&k.Key)
		case "Value":
			d.base64(&k.Value)
		case "Flags":
			d.uint64(&k.Flags)
		case "Session":
			d.text(&k.Session)
		case "LockIndex":
			d.uint64(&k.LockIndex)
		case "CreateIndex":
			d.uint64(&k.CreateIndex)
		case "ModifyIndex":
			d.uint64(&k.ModifyIndex)
		case "Namespace":
			d.text(&k.Namespace)
		case "Partition":
			d.text(&k.Partition)
		default:
			d.unknown(name)
		}
	}
}
