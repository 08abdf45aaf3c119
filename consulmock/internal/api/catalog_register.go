package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/definition"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// catalogRegister serves PUT /v1/catalog/register.
func catalogRegister(q *request) (any, error) {
	if err := q.refuseEnterprise(); err != nil {
		return nil, err
	}
	var r definition.CatalogRegistration
	if err := definition.CatalogRegisterBody.Decode(q.v, q.body, &r); err != nil {
		return nil, err
	}
	if err := q.forward(r.Datacenter, false); err != nil {
		return nil, err
	}
	authz, err := q.authorize()
	if err != nil {
		return nil, err
	}
	if err := r.Validate(q.v); err != nil {
		return nil, err
	}
	if err := q.authorizeRegistration(&r, authz); err != nil {
		return nil, err
	}
	// What is refused from here on is in the server's log already, and so has moved the
	// index.
	q.a.Store.Index++
	if err := writeRegistration(q.a.Store, &r, q.nodeRecord(&r)); err != nil {
		return nil, err
	}
	q.a.CatalogChanged()
	return true, nil
}

// nodeRecord is the node of a registration as the catalog then holds it.
func (q *request) nodeRecord(r *definition.CatalogRegistration) state.NodeRecord {
	return state.NodeRecord{
		ID: r.ID, Node: r.Node, Address: r.Address, Datacenter: q.config.Datacenter, TaggedAddresses: r.TaggedAddresses, Meta: r.NodeMeta,
	}
}

// authorizeRegistration returns the refusal of a registration that the token does not
// allow.
func (q *request) authorizeRegistration(r *definition.CatalogRegistration, authz *acl.Authorizer) error {
	n, rec := q.a.Store.Node(r.Node), q.nodeRecord(r)
	if r.Service != nil {
		if err := authz.Require(q.v, acl.ServiceWrite, r.Service.Service); err != nil {
			return err
		}
	}
	if n == nil || !r.SkipNodeUpdate && q.a.Store.Changes(&rec, n.NodeRecord) {
		if err := authz.Require(q.v, acl.NodeWrite, r.Node); err != nil {
			return err
		}
	}
	if r.Service != nil {
		if other := n.Service(r.Service.ID); other != nil && !authz.Allows(acl.ServiceWrite, other.Name) {
			return acl.ErrDenied
		}
	}
	return q.authorizeChecks(r, n, authz)
}

// authorizeChecks returns the refusal of the checks of a registration on a node, which may
// be nil. 1.8.7 looks at them there only if access is controlled.
func (q *request) authorizeChecks(r *definition.CatalogRegistration, n *state.Node, authz *acl.Authorizer) error {
	unknown := "Unknown service ID '%s' for check ID '%s'"
	if q.v == release.V1_8_7 {
		if !q.config.DefaultDeny {
			return nil
		}
		unknown = "Unknown service '%s' for check '%s'"
	}
	for _, c := range r.Checks {
		if q.v == release.V1_8_7 && c.Node != r.Node || !strings.EqualFold(c.Node, r.Node) {
			return fmt.Errorf("Node '%s' for check '%s' doesn't match register request node '%s'", c.Node, c.CheckID, r.Node)
		}
		permission, name := acl.NodeWrite, r.Node
		if c.ServiceID != "" && r.Service != nil && r.Service.ID == c.ServiceID {
			continue
		}
		if c.ServiceID != "" {
			s := n.Service(c.ServiceID)
			if s == nil {
				return fmt.Errorf(unknown, c.ServiceID, c.CheckID)
			}
			permission, name = acl.ServiceWrite, s.Name
		}
		if err := authz.Require(q.v, permission, name); err != nil {
			return err
		}
	}
	return nil
}

// writeRegistration writes a registration to the catalog, or nothing of it.
func writeRegistration(st *state.Store, r *definition.CatalogRegistration, rec state.NodeRecord) error {
	n := st.Node(r.Node)
	writesNode := n == nil || !r.SkipNodeUpdate
	if writesNode {
		if err := st.RefuseNode(&rec); err != nil {
			return fmt.Errorf("failed inserting node: %w", err)
		}
	}
	if err := refuseParts(st, r); err != nil {
		return err
	}
	if writesNode {
		n = st.EnsureNode(rec)
	}
	if r.Service != nil {
		rec := st.WithVirtualIP(r.Service.Record())
		rec.OnNode = r.Node
		st.EnsureService(n, rec)
	}
	for _, c := range r.Checks {
		if err := st.EnsureCheck(n, c.Record()); err != nil {
			return fmt.Errorf("failed inserting check: %w on node %q", err, r.Node)
		}
	}
	return nil
}

// refuseParts refuses what a registration has besides the node.
func refuseParts(st *state.Store, r *definition.CatalogRegistration) error {
	if err := r.ValidateInStore(); err != nil {
		return err
	}
	modern := st.Version == release.V1_21_4
	if !modern && r.Service != nil && r.Service.ID == "" {
		return errors.New("failed inserting service: failed inserting service: object missing primary index")
	}
	for _, c := range r.Checks {
		switch {
		case !modern && c.Node != r.Node:
			return fmt.Errorf("check node %q does not match node %q", c.Node, r.Node)
		case !modern && !willHave(st, r, c.ServiceID):
			return fmt.Errorf("failed inserting check: %w on node %q", state.ErrMissingService, r.Node)
		case c.CheckID == "" && modern:
			return fmt.Errorf("failed inserting check on node %q: failed health check lookup: index error: object is missing a value for this index", r.Node)
		case c.CheckID == "":
			return fmt.Errorf("failed inserting check: failed inserting check: object missing primary index on node %q", r.Node)
		}
	}
	return nil
}

// willHave reports whether a node has a service after a registration.
func willHave(st *state.Store, r *definition.CatalogRegistration, serviceID string) bool {
	if serviceID == "" || r.Service != nil && strings.EqualFold(r.Service.ID, serviceID) {
		return true
	}
	n := st.Node(r.Node)
	isRenamed := !r.SkipNodeUpdate && n == st.RenamedBy(&state.NodeRecord{ID: r.ID, Node: r.Node})
	return n != nil && !isRenamed && n.Services[strings.ToLower(serviceID)] != nil
}

// catalogDeregister serves PUT /v1/catalog/deregister.
func catalogDeregister(q *request) (any, error) {
	if err := q.refuseEnterprise(); err != nil {
		return nil, err
	}
	var r struct {
		Node, Datacenter, ServiceID, CheckID, Address, PeerName string
		WriteRequest                                            json.RawMessage
	}
	if err := definition.CatalogDeregisterBody.Decode(q.v, q.body, &r); err != nil {
		return nil, err
	}
	if err := q.forward(r.Datacenter, false); err != nil {
		return nil, err
	}
	if r.Node == "" {
		return nil, errors.New("Must provide node")
	}
	authz, err := q.authorize()
	if err != nil {
		return nil, err
	}
	if err := authorizeDeregistration(q, authz, r.Node, r.ServiceID, r.CheckID); err != nil {
		return nil, err
	}
	st := q.a.Store
	st.Index++
	n := st.Node(r.Node)
	switch {
	case n == nil:
	case r.ServiceID != "":
		st.DeleteService(n, r.ServiceID)
	case r.CheckID != "":
		st.DeleteCheck(n, r.CheckID)
	default:
		st.DeleteNode(r.Node)
	}
	q.a.CatalogChanged()
	return true, nil
}

// authorizeDeregistration returns the refusal of a deregistration that the token does not
// allow. Who may write a node may take everything off it.
func authorizeDeregistration(q *request, authz *acl.Authorizer, nodeName, serviceID, checkID string) error {
	if authz.Allows(acl.NodeWrite, nodeName) {
		return nil
	}
	n := q.a.Store.Node(nodeName)
	if n != nil && serviceID == "" && checkID != "" {
		if c := n.Checks[strings.ToLower(checkID)]; c != nil {
			serviceID = c.ServiceID
		}
	}
	if n != nil && serviceID != "" {
		if s := n.Services[strings.ToLower(serviceID)]; s != nil {
			return authz.Require(q.v, acl.ServiceWrite, s.Name)
		}
	}
	return authz.Require(q.v, acl.NodeWrite, nodeName)
}
