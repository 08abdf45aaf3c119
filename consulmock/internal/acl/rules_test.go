package acl

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestRules(t *testing.T) {
	for _, test := range []struct {
		rules string
		p     Permission
		name  string
		want  bool
	}{
		{`service "web" { policy = "write" }`, ServiceWrite, "web", true},
		{`service "web" { policy = "write" }`, ServiceRead, "web", true},
		{`service "web" { policy = "write" }`, ServiceWrite, "web-2", false},
		{`service "web" { policy = "write" }`, NodeRead, "web", false},
		{`service_prefix "web" { policy = "read" }`, ServiceRead, "web-2", true},
		{`service_prefix "web" { policy = "read" }`, ServiceWrite, "web-2", false},
		{`service_prefix "" { policy = "write" } service_prefix "db" { policy = "deny" }`, ServiceRead, "db-1", false},
		{`service_prefix "" { policy = "write" } service "db" { policy = "read" }`, ServiceWrite, "db", false},
		{`service_prefix "" { policy = "deny" } service "db" { policy = "write" intentions = "read" }`, ServiceWrite, "db", true},
		{`operator = "read"`, OperatorRead, "", true},
		{`operator = "read"`, OperatorWrite, "", false},
		{ManagementRules, ACLWrite, "", true},
		{"", ServiceRead, "web", false},
		// Of rules for the same name the one that denies counts, else the one that
		// allows most.
		{`service "web" { policy = "write" } service "web" { policy = "deny" }`, ServiceRead, "web", false},
		{`service "web" { policy = "deny" } service "web" { policy = "write" }`, ServiceRead, "web", false},
		{`service "web" { policy = "read" } service "web" { policy = "write" }`, ServiceWrite, "web", true},
	} {
		rules, err := ParseRules(test.rules)
		if err != nil {
			t.Fatal(err)
		}
		if got := (&Authorizer{rules: rules}).Allows(test.p, test.name); got != test.want {
			t.Errorf("%s: %s of %s is allowed: %t, want %t", test.rules, test.p, test.name, got, test.want)
		}
	}
}

// What agents accept, and what it means: tried with agents of both versions.
func TestRulesSyntax(t *testing.T) {
	for _, text := range []string{
		`service "web" { policy = "write" }`,
		`service web { policy = "write" }`,
		`SERVICE "web" { Policy = "Write" }`,
		`service "web" { intentions = "read" policy = "write" }`,
		`service "web" { policy = "write", intentions = "read", },`,
		`service { web { policy = "write" } }`,
		`service = { "web" = { policy = "write" } }`,
		`"service" "web" { "policy" = "write" }`,
		`service "we\u0062" { policy = "write" }`,
		"# a\r\nservice \"web\" { // b\n/* c\n} */ policy = \"write\" # d\n}\n//",
		"service \"web\" { policy = \"write\" sentinel { code = <<END\n\"}\n END\n enforcementlevel = \"x\" list = [1, \"a\", { b = true }] } }",
		`service "web" { policy = "write" } operator = ""`,
		`service "web" { policy = "write" } namespace_prefix "" { servcie = 5 } partition "x" { }`,
		`{"service":{"web":{"policy":"write"}}}`,
		` {"Service":[{"web":[{"policy":"write"}]}]} and so on`,
		"{\"service\": {\n\"we\\u0062\": {\"policy\":\"write\",\"intentions\":\"\"}}}",
	} {
		rules, err := ParseRules(text)
		if want := []Rule{{resource: "service", name: "web", access: "write"}}; err != nil || !slices.Equal(rules, want) {
			t.Errorf("%s: got %v, %v", text, rules, err)
		}
	}
	var all strings.Builder
	want := []Rule{}
	for _, word := range namedRules {
		fmt.Fprintf(&all, "%s \"a\" { policy = \"deny\" }\n%s_prefix \"\" { policy = \"read\" }\n", word, word)
		want = append(want, Rule{word, "a", false, "deny"}, Rule{word, "", true, "read"})
	}
	for _, word := range plainRules {
		fmt.Fprintf(&all, "%s = \"write\"\n", word)
		want = append(want, Rule{word, "", true, "write"})
	}
	all.WriteString(`key_prefix "b/" { policy = "list" }`)
	want = append(want, Rule{"key", "b/", true, "list"})
	if rules, err := ParseRules(all.String()); err != nil || !slices.Equal(rules, want) {
		t.Errorf("got %v, %v", rules, err)
	}
}

// Rules that are not as they should be are refused, which says where they are
// wrong and what was expected.
func TestRulesErrors(t *testing.T) {
	for text, want := range map[string]string{
		"\nservcie \"web\" { policy = \"write\" }":                          `line 2: unknown rule "servcie": want "acl", "keyring", `,
		`operator_prefix = "read"`:                                          `line 1: unknown rule "operator_prefix": want "acl"`,
		`service "web" { policy = "wrtie" }`:                                `line 1: service: unknown policy "wrtie": want "read", "write" or "deny"`,
		`service "web" { policy = "list" }`:                                 `line 1: service: unknown policy "list": want "read", "write" or "deny"`,
		`key "web" { policy = "lsit" }`:                                     `line 1: key: unknown policy "lsit": want "read", "write", "deny" or "list"`,
		"service \"web\" {\n\tpolicy = \"read\"\n\tintentions = \"wrtie\"}": `line 3: intentions: unknown policy "wrtie"`,
		"service \"web\" {\n\tplicy = \"write\"\n}":                         `line 2: service "web": unknown word "plicy": want policy`,
		`node "web" { policy = "read" intentions = "read" }`:                `line 1: node "web": unknown word "intentions"`,
		`service "web" { }`:                                                 `line 1: service "web" has no policy`,
		`service "web" { intentions = "write" }`:                            `line 1: service "web" has no policy`,
		`service "web" { policy = "read" policy = "write" }`:                `line 1: service "web": policy was given before`,
		"operator = \"read\"\noperator = \"write\"":                         `line 2: operator was given before`,
		`operator "x" { policy = "read" }`:                                  `line 1: operator: want operator = "read"`,
		`operator = 5`:                                                      `line 1: operator: want operator = "read"`,
		`service = "read"`:                                                  `line 1: service: want a name and a block`,
		`service "web" "x" { policy = "write" }`:                            `line 1: service "web": want { after the name, not "x"`,
		`service "web" = { policy = "write" }`:                              `line 1: "web": want { or =, not =`,
		`service "web" { policy = write }`:                                  `line 1: want a value in quotes, not "write"`,
		`service "web" { policy "write" }`:                                  `line 1: "write": want { or =, not }`,
		`service "web" { policy = ["write"] }`:                              `line 1: service "web": want policy = "read"`,
		`service "web" { policy: "write" }`:                                 `line 1: unexpected ":"`,
		`service "web" { policy = "write"; }`:                               `line 1: unexpected ";"`,
		`service 'web' { policy = 'write' }`:                                `line 1: unexpected "'"`,
		"service \"web\" {\n policy = \"write\"\n":                          `line 3: want a word, not the end`,
		"service \"web {\n policy = \"write\" }":                            `line 1: a string that does not end in its line`,
		`service "\q" { policy = "write" }`:                                 `line 1: "\q": an escape that is none`,
		"# a\n/* b":                                                         `line 2: a comment that does not end: want */`,
		"service \"a\" { sentinel { code = <<END\nx\n":                      `line 1: a text after << that does not end: want "END"`,
		`nonsense`:                    `line 1: "nonsense": want { or =, not the end`,
		`[]`:                          `line 1: want a word, not [`,
		`5`:                           `line 1: want a word, not "5"`,
		`}`:                           `line 1: want a word, not }`,
		`{"servcie":{}}`:              `line 1: unknown rule "servcie"`,
		`{"service":"x"}`:             `line 1: service: want a name and a block`,
		`{"service":{"web":"write"}}`: `line 1: service: want a name and a block`,
		"{\"service\":\n{\"web\":{\"policy\":5}}}": `line 2: service "web": want policy = "read"`,
		`{"operator" "read"}`:                      `line 1: "operator": want { or :, not "read"`,
		`{operator: "read"}`:                       `line 1: want a word, not "operator"`,
		`{"operator":"read" "acl":"read"}`:         `line 1: want , or }, not "acl"`,
		`{"operator":"read"`:                       `line 1: want , or }, not the end`,
		`{"service":[{} {}]}`:                      `line 1: want , or ], not {`,
		strings.Repeat(`service {`, 100):           `line 1: more than 20 blocks in each other`,
		"service \"web\" { policy = \"read\" }\n\n\n" + `unknown "\u00e9" {}`: `line 4: unknown rule "unknown"`,
	} {
		if rules, err := ParseRules(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s\n got %v, %v\nwant %s", text, rules, err, want)
		}
	}
}

// Rules of any text are rules that can be written again, or an error with a line.
func FuzzRules(f *testing.F) {
	f.Add(ManagementRules)
	f.Add(`node_prefix "" { policy = "read" }` + "# x\nservice { web { policy = \"read\" } }")
	f.Add(`{"service":[{"web":[{"policy":"write"}]}],"operator":"read"}`)
	f.Add("key \"a\" { policy = \"list\" sentinel { code = <<E\n}\nE\n } } /* */")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := ParseRules(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "line ") {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		var again strings.Builder
		for _, r := range rules {
			word := r.resource
			switch {
			case slices.Contains(plainRules, word):
				fmt.Fprintf(&again, "%s = %q\n", word, r.access)
				continue
			case r.isPrefix:
				word += prefixSuffix
			}
			fmt.Fprintf(&again, "%s %q { policy = %q }\n", word, r.name, r.access)
		}
		if got, err := ParseRules(again.String()); err != nil || !slices.Equal(got, rules) {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, rules)
		}
	})
}
