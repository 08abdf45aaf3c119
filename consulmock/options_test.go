package consulmock

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
)

// What is wrong with options is an error for those who take them from a user, and
// a panic for all others.
func TestBadOptions(t *testing.T) {
	secret := ManagementToken("5ecre7-token")
	for want, opts := range map[string][]Option{
		`version "2.0": want 1.21.4 or 1.8.7`:                                           {WithVersion("2.0")},
		`version "": want 1.21.4 or 1.8.7`:                                              {WithVersion(""), WithVersion("1.8.7")},
		"the name of the node is empty":                                                 {WithNode("")},
		`name of the datacenter "": want letters, digits, hyphens and underscores`:      {WithDatacenter("")},
		`name of the datacenter "my dc": want letters, digits, hyphens and underscores`: {WithDatacenter("my DC")},
		`ID of the node "x": want a UUID`:                                               {WithNodeID("x")},
		"query times 0s and 1s: want more than 0":                                       {WithQueryTimes(0, time.Second)},
		"query times 1s and -1s: want more than 0":                                      {WithQueryTimes(time.Second, -time.Second)},
		"rules of token 2: ":                                                            {WithTokens(secret), WithTokens(Token{SecretID: "x", Rules: "nonsense"})},
		"token 1 has no SecretID":                                                       {WithTokens(Token{})},
		"token 2 has the SecretID of one before it":                                     {WithTokens(secret, secret)},
		"option 2 is nil":                                                               {WithNode("a"), nil},
	} {
		err := CheckOptions(opts...)
		if err == nil || !strings.HasPrefix(err.Error(), "consulmock: "+want) {
			t.Errorf("got %v, want %s", err, want)
		}
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); err == nil || got != err.Error() {
					t.Errorf("NewServer panics with %s, CheckOptions returns %v", got, err)
				}
			}()
			NewServer(opts...)
		}()
	}
	if err := CheckOptions(WithTokens(secret), WithVersion("1.8.7"), WithNode("a"), WithNode("b")); err != nil {
		t.Error(err)
	}
	// As agents do, capital letters become small ones.
	self, err := New(t, WithNodeID("AAAAAAAA-2222-3333-4444-555555555555"), WithDatacenter("DC_7-x")).Client().Agent().Self(context.Background())
	if err != nil || self.Config.NodeID != "aaaaaaaa-2222-3333-4444-555555555555" || self.Config.Datacenter != "dc_7-x" {
		t.Errorf("got %+v, %v", self, err)
	}
}

// The options show where an agent shows them.
func TestOptions(t *testing.T) {
	ctx := context.Background()
	const id = "11111111-2222-3333-4444-555555555555"
	s := New(t, WithNode("n7"), WithNodeID(id), WithDatacenter("moon"), WithNodeMeta(map[string]string{"rack": "r1"}))
	self, err := s.Client().Agent().Self(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if c := self.Config; c.NodeName != "n7" || c.NodeID != id || c.Datacenter != "moon" || c.Version != "1.21.4" {
		t.Errorf("self says %+v", c)
	}
	nodes, _, err := s.Client().Catalog().Nodes(ctx, &consul.QueryOptions{NodeMeta: map[string]string{"rack": "r1"}})
	if err != nil || len(nodes) != 1 || nodes[0].ID != id {
		t.Errorf("nodes are %v, %v", nodes, err)
	}
}
