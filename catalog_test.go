package consul_test

import (
	"slices"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// printer is a node without an agent.
func printer() *consul.CatalogRegistration {
	return &consul.CatalogRegistration{
		Node: "printer", Address: "10.0.0.9", NodeMeta: map[string]string{"floor": "2"},
		Service: &consul.AgentService{ID: "ipp-1", Service: "ipp", Port: 631, Tags: []string{"color"}},
	}
}

func TestCatalogServices(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		first, second := web("web-1"), web("web-2")
		first.Tags, second.Tags = []string{"v1", "green"}, []string{"v2", "green"}
		agent.AddService(first)
		agent.AddService(second)
		agent.AddNode(printer())
		services, meta, err := agent.Client().Catalog().Services(ctx, nil)
		succeed(t, err)
		want(t, "services", keys(services), []string{"consul", "ipp", "web"})
		slices.Sort(services["web"])
		want(t, "tags", services["web"], []string{"green", "v1", "v2"})
		if meta.LastIndex == 0 {
			t.Error("no index")
		}
		services, _, err = agent.Client().Catalog().Services(ctx, &consul.QueryOptions{NodeMeta: map[string]string{"floor": "2"}})
		succeed(t, err)
		want(t, "services on the floor", keys(services), []string{"ipp"})
	})
}

func TestCatalogService(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		sick := web("web-1")
		sick.Tags, sick.Check.Status = []string{"v1"}, consul.HealthCritical
		agent.AddService(sick)
		agent.AddService(web("web-2"))
		catalog := agent.Client().Catalog()
		instances := func(service string, q *consul.QueryOptions) (ids []string) {
			list, _, err := catalog.Service(ctx, service, q)
			succeed(t, err)
			for _, s := range list {
				ids = append(ids, s.ServiceID)
			}
			return ids
		}
		want(t, "instances, healthy or not", instances("web", nil), []string{"web-1", "web-2"})
		want(t, "with a tag", instances("web", &consul.QueryOptions{Tags: []string{"", "v1"}}), []string{"web-1"})
		want(t, "with an empty tag", instances("web", &consul.QueryOptions{Tags: []string{""}}), []string{"web-1", "web-2"})
		want(t, "PassingOnly, which the catalog has not", len(instances("web", &consul.QueryOptions{PassingOnly: true})), 2)
		want(t, "in capitals", len(instances("WEB", nil)), 2)
		want(t, "of none", len(instances("none", nil)), 0)
		list, _, err := catalog.Connect(ctx, "web", nil)
		succeed(t, err)
		want(t, "in the mesh", len(list), 0)
	})
}

func TestCatalogNodes(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		agent.AddNode(printer())
		agent.AddService(web("web-1"))
		catalog := agent.Client().Catalog()
		nodes, _, err := catalog.Nodes(ctx, nil)
		succeed(t, err)
		want(t, "nodes", []string{nodes[0].Node, nodes[1].Node}, []string{"node1", "printer"})
		node, _, err := catalog.Node(ctx, "printer", nil)
		succeed(t, err)
		want(t, "address", node.Node.Address, "10.0.0.9")
		want(t, "ID, which nobody gave it", node.Node.ID, "")
		want(t, "services", keys(node.Services), []string{"ipp-1"})
		list, _, err := catalog.NodeServices(ctx, "printer", nil)
		succeed(t, err)
		want(t, "service", list.Services[0].Port, 631)

		// A node that is not there is none, and can be waited for.
		node, meta, err := catalog.Node(ctx, "none", nil)
		succeed(t, err)
		list, _, err = catalog.NodeServices(ctx, "none", nil)
		succeed(t, err)
		if node.Node != nil || list.Node != nil || len(node.Services)+len(list.Services) > 0 || meta.LastIndex == 0 {
			t.Errorf("got %+v, %+v, %+v", node, list, meta)
		}
	})
}

func TestCatalogDatacenters(t *testing.T) {
	agent := consulmock.New(t, consulmock.WithDatacenter("home"))
	list, meta, err := agent.Client().Catalog().Datacenters(ctx, nil)
	succeed(t, err)
	want(t, "datacenters", list, []string{"home"})
	want(t, "index, since it cannot be waited on", meta.LastIndex, 0)
}

func TestCatalogGatewayServices(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		services, _, err := agent.Client().Catalog().GatewayServices(ctx, "gw", nil)
		succeed(t, err)
		want(t, "services", len(services), 0)
	})
}

func TestCatalogRegister(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, isOld bool) {
		catalog := agent.Client().Catalog()
		r := printer()
		r.Check = &consul.AgentCheck{Node: "printer", CheckID: "paper", Name: "paper", ServiceID: "ipp-1", Status: consul.HealthPassing}
		if !isOld { // 1.8.7 does not know the definition of checks with an interval
			r.Check.Definition = &consul.HealthCheckDefinition{TCP: "10.0.0.9:631", Interval: time.Minute}
		}
		succeed(t, catalog.Register(ctx, r))
		entries, _, err := agent.Client().Health().Service(ctx, "ipp", nil)
		succeed(t, err)
		want(t, "checks", statuses(entries[0].Checks), []string{"paper passing"})
		want(t, "definition", entries[0].Checks[0].Definition, r.Check.Definition)

		// A part of it, and then all. The check is ignored beside a service.
		succeed(t, catalog.Register(ctx, &consul.CatalogRegistration{Node: "printer", SkipNodeUpdate: true, Service: &consul.AgentService{Service: "lpd"}}))
		succeed(t, catalog.Deregister(ctx, &consul.CatalogDeregistration{Node: "printer", ServiceID: "lpd", CheckID: "paper"}))
		entries, _, err = agent.Client().Health().Service(ctx, "ipp", nil)
		succeed(t, err)
		want(t, "checks", len(entries[0].Checks), 1)
		succeed(t, catalog.Deregister(ctx, &consul.CatalogDeregistration{Node: "printer", CheckID: "paper"}))
		entries, _, err = agent.Client().Health().Service(ctx, "ipp", nil)
		succeed(t, err)
		want(t, "checks", len(entries[0].Checks), 0)
		succeed(t, catalog.Deregister(ctx, &consul.CatalogDeregistration{Node: "printer"}))
		succeed(t, catalog.Deregister(ctx, &consul.CatalogDeregistration{Node: "printer"})) // it is not there any more
		nodes, _, err := catalog.Nodes(ctx, nil)
		succeed(t, err)
		want(t, "nodes", len(nodes), 1)
	})
}

// Without SkipNodeUpdate a registration says all about the node.
func TestCatalogRegisterNode(t *testing.T) {
	agent := consulmock.New(t)
	catalog := agent.Client().Catalog()
	meta := func() map[string]string {
		node, _, err := catalog.Node(ctx, "printer", nil)
		succeed(t, err)
		return node.Node.Meta
	}
	succeed(t, catalog.Register(ctx, printer()))
	succeed(t, catalog.Register(ctx, &consul.CatalogRegistration{Node: "printer", SkipNodeUpdate: true, Service: &consul.AgentService{Service: "lpd"}}))
	want(t, "metadata", meta(), map[string]string{"floor": "2"})
	succeed(t, catalog.Register(ctx, &consul.CatalogRegistration{Node: "printer", Address: "10.0.0.9"}))
	want(t, "metadata, which nil clears", len(meta()), 0)
}

func TestCatalogRegisterErrors(t *testing.T) {
	agent := consulmock.New(t)
	catalog := agent.Client().Catalog()
	for words, r := range map[string]*consul.CatalogRegistration{
		"CatalogRegistration.Node is empty":    {Address: "10.0.0.9"},
		"CatalogRegistration.Checks[0] is nil": {Node: "printer", Address: "10.0.0.9", Checks: consul.HealthChecks{nil}}, // agents would break the connection
	} {
		wantError(t, catalog.Register(ctx, r), nil, "consul: ", words)
	}
	wantError(t, catalog.Register(ctx, nil), nil, "nil CatalogRegistration")
	wantError(t, catalog.Deregister(ctx, &consul.CatalogDeregistration{}), nil, "CatalogDeregistration.Node is empty")
	wantSent(t, agent)
	wantError(t, catalog.Register(ctx, &consul.CatalogRegistration{Node: "printer"}), nil,
		"/v1/catalog/register: 500 Must provide address if SkipNodeUpdate is not set")
}
