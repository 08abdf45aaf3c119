package acl

import (
	"slices"
	"strings"

	"github.com/lictor-go/consul/consulmock/internal/release"
)

// RequireTree returns the refusal if the token does not allow to write all the keys
// with a prefix, also those that do not exist: a rule for the prefix or for something
// shorter must allow it, and no rule for something longer may forbid it.
func (z *Authorizer) RequireTree(v release.Version, prefix string) error {
	if z == nil || z.allowsTree(prefix) {
		return nil
	}
	return z.denied(v, KeyWrite, prefix)
}

func (z *Authorizer) allowsTree(prefix string) bool {
	above := z.rulesWhere(func(r Rule) bool { return r.isPrefix && strings.HasPrefix(prefix, r.name) })
	return above.Allows(KeyWrite, prefix) && !slices.ContainsFunc(z.rules, func(r Rule) bool {
		if r.resource != KeyWrite.resource || !strings.HasPrefix(r.name, prefix) {
			return false
		}
		same := z.rulesWhere(func(other Rule) bool { return other.name == r.name && other.isPrefix == r.isPrefix })
		return !same.Allows(KeyWrite, r.name)
	})
}

// rulesWhere returns an authorizer with some of the rules.
func (z *Authorizer) rulesWhere(is func(Rule) bool) *Authorizer {
	return &Authorizer{rules: slices.DeleteFunc(slices.Clone(z.rules), func(r Rule) bool { return !is(r) })}
}
