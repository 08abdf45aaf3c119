package kratos_test

import (
	"strings"
	"testing"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/integrations/kratos"
)

// TestDatacenters finds instances in one datacenter and in several.
func TestDatacenters(t *testing.T) {
	for name, test := range map[string]struct {
		opts kratos.Options
		want string
	}{
		"all":            {kratos.Options{AllDatacenters: true}, "one two"},
		"all and listed": {kratos.Options{AllDatacenters: true, Datacenters: []string{"dc2"}}, "one two"},
		"named":          {kratos.Options{Datacenters: []string{"dc2"}}, "two"},
		"listed":         {kratos.Options{Datacenters: []string{"dc1", "dc2"}}, "one two"},
		"of the query":   {kratos.Options{Query: consul.QueryOptions{Datacenter: "dc2"}}, "two"},
		"the agent's":    {kratos.Options{}, "one"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "dc2")
			c.add("dc1", "one")
			r := c.registry(t, &test.opts)
			w, err := r.Watch(testContext(t), "web")
			if err != nil {
				t.Fatal(err)
			}
			defer w.Stop()
			if strings.Contains(test.want, "one") {
				if got := next(t, w); got != "one" {
					t.Errorf("instances %q; want one", got)
				}
			}
			c.add("dc2", "two")
			if strings.Contains(test.want, "two") {
				if got := next(t, w); got != test.want {
					t.Errorf("instances %q; want %q", got, test.want)
				}
			}
			list, err := r.GetService(testContext(t), "web")
			if err != nil || len(list) != len(strings.Fields(test.want)) {
				t.Errorf("GetService: %v, %v; want %s", list, err, test.want)
			}
			for _, i := range list {
				want := map[string]string{"one": "dc1", "two": "dc2"}[i.ID]
				if len(test.opts.Datacenters) == 0 && !test.opts.AllDatacenters {
					want = ""
				}
				if i.Metadata["dc"] != want {
					t.Errorf("%s: the metadata say %q; want %q", i.ID, i.Metadata["dc"], want)
				}
			}
		})
	}
}
