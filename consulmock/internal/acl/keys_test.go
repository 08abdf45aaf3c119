package acl

import (
	"testing"

	"github.com/lictor-go/consul/consulmock/internal/release"
)

// To delete a tree, a rule for a prefix must allow all of it, and none below it may
// forbid a part.
func TestRequireTree(t *testing.T) {
	rules, err := ParseRules(`key_prefix "app/" { policy = "write" } key "app/ro" { policy = "read" } key_prefix "app/secret/" { policy = "deny" }
		key_prefix "app/deep/w/" { policy = "write" } key "one" { policy = "write" } key_prefix "pub/" { policy = "list" }
		service_prefix "app/tree/" { policy = "deny" }`)
	if err != nil {
		t.Fatal(err)
	}
	z := New(true, "node1", nil, nil).Add("secret", "", rules)
	for prefix, want := range map[string]bool{
		"app/": false, "app/tree/": true, "app/deep/": true, "app/r": false, "app/ro/x": true, "app/secret/": false, "app/secret/x": false,
		"one": false, "one/": false, "pub/": false, "": false, "other": false,
	} {
		if got := z.RequireTree(release.V1_21_4, prefix) == nil; got != want {
			t.Errorf("%q: %t, want %t", prefix, got, want)
		}
	}
	management, _ := ParseRules(ManagementRules)
	for name, z := range map[string]*Authorizer{"no access control": nil, "management": New(true, "node1", nil, nil).Add("root", "", management)} {
		if err := z.RequireTree(release.V1_8_7, ""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The policy list allows to read, too, but not the other way round; deny allows
// nothing, whatever stands beside it.
func TestKeyPolicies(t *testing.T) {
	for policy, want := range map[string][3]bool{"read": {true, false, false}, "list": {true, true, false}, "write": {true, true, true}, "deny": {}} {
		rules, err := ParseRules(`key_prefix "a" { policy = "` + policy + `" }`)
		if err != nil {
			t.Fatal(err)
		}
		z := &Authorizer{rules: rules}
		if got := [3]bool{z.Allows(KeyRead, "ab"), z.Allows(KeyList, "ab"), z.Allows(KeyWrite, "ab")}; got != want {
			t.Errorf("%s: %v, want %v", policy, got, want)
		}
	}
}
