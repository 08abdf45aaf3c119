package acl

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// This file reads Consul's language for access control rules. It is HCL in its
// first version, or JSON:
//
//	service_prefix "web" { policy = "write" }
//	{"service_prefix": {"web": {"policy": "write"}}}
//
// Agents ignore words that they do not know. Here they are errors: a rule that is
// misspelt denies everything, so that a test of a refusal passes for the wrong
// reason.

// Rule allows an access to a resource by its name, or by the beginning of it.
type Rule struct {
	resource string
	name     string
	isPrefix bool
	access   string // write, list, read or deny
}

// The words that a rule begins with: those that are about all of something, and
// those that name one resource, or with _prefix several.
var (
	plainRules = []string{"acl", "keyring", "mesh", "operator", "peering"}
	namedRules = []string{"agent", "event", "identity", "key", "node", "query", "service", "session"}
	// enterpriseRules have rules inside them. Consul's free edition accepts and
	// ignores them.
	enterpriseRules = []string{"namespace", "partition"}
)

const prefixSuffix = "_prefix"

// ParseRules reads rules. Its errors tell in which line what was expected.
func ParseRules(text string) ([]Rule, error) {
	l := &ruleLexer{text: text, line: 1, isJSON: strings.HasPrefix(strings.TrimSpace(text), "{")}
	p := &ruleParser{lexer: l}
	p.next()
	var items []ruleItem
	if l.isJSON {
		items = p.value().items // what follows is ignored, as agents do
	} else {
		items = p.items("")
	}
	if p.err != nil {
		return nil, p.err
	}
	var b ruleBuilder
	err := b.items(items)
	return b.rules, err
}

func errAtLine(line int, format string, args ...any) error {
	return fmt.Errorf("line %d: "+format, append([]any{line}, args...)...)
}

// quotedList writes words for a message: "a", "b" or "c".
func quotedList(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	last := len(quoted) - 1
	return strings.Join(quoted[:last], ", ") + " or " + quoted[last]
}

// ruleBuilder makes rules of what was parsed.
type ruleBuilder struct {
	rules []Rule
	plain []string // the plain rules that were given
}

func (b *ruleBuilder) items(items []ruleItem) error {
	for _, item := range items {
		word := strings.ToLower(item.keys[0].text)
		resource, isPrefix := strings.CutSuffix(word, prefixSuffix)
		var err error
		switch {
		case slices.Contains(plainRules, word):
			err = b.plainRule(word, item)
		case slices.Contains(namedRules, resource):
			err = b.namedRule(Rule{resource: resource, isPrefix: isPrefix}, item.keys[1:], item.value)
		case slices.Contains(enterpriseRules, resource):
		default:
			err = errAtLine(item.keys[0].line, "unknown rule %q: want %s, of which those with a name may end in %s",
				item.keys[0].text, quotedList(slices.Concat(plainRules, namedRules)), prefixSuffix)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// plainRule takes a rule such as operator = "read".
func (b *ruleBuilder) plainRule(word string, item ruleItem) error {
	if len(item.keys) > 1 || item.value.kind != tokenString {
		return errAtLine(item.value.line, "%s: want %s = \"read\", without a name or a block", word, word)
	}
	if slices.Contains(b.plain, word) {
		return errAtLine(item.keys[0].line, "%s was given before", word)
	}
	b.plain = append(b.plain, word)
	if item.value.text == "" {
		return nil // as if it were not there
	}
	access, err := policyOf(word, item.value)
	b.rules = append(b.rules, Rule{resource: word, isPrefix: true, access: access})
	return err
}

// namedRule takes what comes after a word such as service: a name and a block, or
// a block of names with blocks. JSON has lists of them as well.
func (b *ruleBuilder) namedRule(r Rule, keys []ruleToken, v ruleValue) error {
	switch {
	case len(keys) > 1:
		return errAtLine(keys[1].line, "%s %q: want { after the name, not %q", r.resource, keys[0].text, keys[1].text)
	case v.kind == tokenList:
		for _, element := range v.list {
			if err := b.namedRule(r, keys, element); err != nil {
				return err
			}
		}
		return nil
	case v.kind != tokenObject:
		return errAtLine(v.line, "%s: want a name and a block, as in %s \"name\" { policy = \"read\" }", r.resource, r.resource)
	case len(keys) == 0:
		for _, item := range v.items {
			if err := b.namedRule(r, item.keys, item.value); err != nil {
				return err
			}
		}
		return nil
	}
	r.name = keys[0].text
	return b.block(r, v)
}

// block takes the block of a rule.
func (b *ruleBuilder) block(r Rule, v ruleValue) (err error) {
	var given []string
	for _, item := range v.items {
		word := strings.ToLower(item.keys[0].text)
		where := fmt.Sprintf("%s %q", r.resource, r.name)
		switch {
		case slices.Contains(given, word):
			return errAtLine(item.keys[0].line, "%s: %s was given before", where, word)
		case word == "sentinel": // of Consul Enterprise
		case word != "policy" && (word != "intentions" || r.resource != "service" && r.resource != "identity"):
			return errAtLine(item.keys[0].line, "%s: unknown word %q: want policy", where, item.keys[0].text)
		case len(item.keys) > 1 || item.value.kind != tokenString:
			return errAtLine(item.value.line, "%s: want %s = \"read\"", where, word)
		case word == "policy":
			if r.access, err = policyOf(r.resource, item.value); err != nil {
				return err
			}
		case item.value.text != "":
			if _, err := policyOf("intentions", item.value); err != nil {
				return err
			}
		}
		given = append(given, word)
	}
	if r.access == "" {
		return errAtLine(v.line, "%s %q has no policy", r.resource, r.name)
	}
	b.rules = append(b.rules, r)
	return nil
}

// policyOf returns the access that a policy allows.
func policyOf(resource string, v ruleValue) (string, error) {
	known := []string{"read", "write", "deny"}
	if resource == "key" {
		known = append(known, "list")
	}
	access := strings.ToLower(v.text)
	if !slices.Contains(known, access) {
		return "", errAtLine(v.line, "%s: unknown policy %q: want %s", resource, v.text, quotedList(known))
	}
	return access, nil
}
