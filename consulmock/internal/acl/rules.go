package acl

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
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

// Parse reads rules. Its errors say in which line what was expected.
func Parse(text string) ([]Rule, error) {
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

// The kinds of tokens and values, besides the marks such as = and {.
const (
	tokenEnd    = ""
	tokenWord   = "word"
	tokenString = "string"
	tokenOther  = "number" // or another literal that is no string
	tokenObject = "{"
	tokenList   = "["
)

// ruleToken is a part of the text.
type ruleToken struct {
	kind string // one of the kinds above, or a mark
	text string // of a word or string
	line int
}

// String returns the token as it is written in messages.
func (t ruleToken) String() string {
	switch t.kind {
	case tokenEnd:
		return "the end"
	case tokenWord, tokenString, tokenOther:
		return strconv.Quote(t.text)
	}
	return t.kind
}

// ruleItem is keys with a value.
type ruleItem struct {
	keys  []ruleToken // at least one
	value ruleValue
}

// ruleValue is a literal, an object or a list.
type ruleValue struct {
	ruleToken
	items []ruleItem  // of an object
	list  []ruleValue // of a list
}

// ruleParser makes items of tokens. After an error it sees only the end.
type ruleParser struct {
	lexer *ruleLexer
	token ruleToken // that comes next
	depth int
	err   error
}

func (p *ruleParser) next() {
	if p.err == nil {
		p.token, p.err = p.lexer.token()
	}
	if p.err != nil {
		p.token = ruleToken{line: p.token.line}
	}
}

func (p *ruleParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = errAtLine(p.token.line, format, args...)
	}
	p.next()
}

// items reads items up to a mark.
func (p *ruleParser) items(end string) (items []ruleItem) {
	for p.token.kind != end && p.err == nil {
		items = append(items, p.item())
		if p.token.kind == "," {
			p.next()
		} else if p.lexer.isJSON && p.token.kind != end {
			p.fail("want , or }, not %s", p.token)
		}
	}
	p.next()
	return items
}

func (p *ruleParser) item() (item ruleItem) {
	for p.token.kind == tokenString && !(p.lexer.isJSON && len(item.keys) == 1) || p.token.kind == tokenWord && !p.lexer.isJSON {
		item.keys = append(item.keys, p.token)
		p.next()
	}
	assign := "="
	if p.lexer.isJSON {
		assign = ":"
	}
	switch {
	case len(item.keys) == 0:
		p.fail("want a word, not %s", p.token)
	case p.token.kind == assign && len(item.keys) == 1:
		p.next()
		item.value = p.value()
	case p.token.kind == tokenObject && !p.lexer.isJSON:
		item.value = p.value()
	default:
		p.fail("%s: want { or %s, not %s", item.keys[len(item.keys)-1], assign, p.token)
	}
	return item
}

func (p *ruleParser) value() ruleValue {
	const deepest = 20
	v := ruleValue{ruleToken: p.token}
	if p.depth++; p.depth > deepest {
		p.fail("more than %d blocks in each other", deepest)
	}
	defer func() { p.depth-- }()
	switch p.token.kind {
	case tokenString, tokenOther:
		p.next()
	case tokenObject:
		p.next()
		v.items = p.items("}")
	case tokenList:
		p.next()
		for p.token.kind != "]" && p.err == nil {
			v.list = append(v.list, p.value())
			if p.token.kind == "," {
				p.next()
			} else if p.token.kind != "]" {
				p.fail("want , or ], not %s", p.token)
			}
		}
		p.next()
	default:
		p.fail("want a value in quotes, not %s", p.token)
	}
	return v
}

// ruleLexer cuts the text into tokens.
type ruleLexer struct {
	text   string // that is left
	line   int
	isJSON bool
}

// take removes the first bytes of the text and returns them.
func (l *ruleLexer) take(n int) string {
	taken := l.text[:n]
	l.line += strings.Count(taken, "\n")
	l.text = l.text[n:]
	return taken
}

func (l *ruleLexer) token() (ruleToken, error) {
	if err := l.skip(); err != nil {
		return ruleToken{line: l.line}, err
	}
	t := ruleToken{line: l.line}
	if l.text == "" {
		return t, nil
	}
	first, size := utf8.DecodeRuneInString(l.text)
	var err error
	switch {
	case strings.ContainsRune("{}[],", first), first == ':' && l.isJSON, first == '=' && !l.isJSON:
		t.kind = l.take(1)
	case first == '"':
		t.kind = tokenString
		t.text, err = l.quoted()
	case strings.HasPrefix(l.text, "<<") && !l.isJSON:
		t.kind = tokenString
		t.text, err = l.heredoc()
	case isWordRune(first) || strings.ContainsRune("-+.", first):
		end := strings.IndexFunc(l.text, func(r rune) bool { return !isWordRune(r) && !strings.ContainsRune("-+.", r) })
		if end < 0 {
			end = len(l.text)
		}
		t.kind, t.text = tokenWord, l.take(end)
		if t.text == "true" || t.text == "false" || t.text == "null" && l.isJSON || !unicode.IsLetter(first) && first != '_' {
			t.kind = tokenOther
		}
	default:
		err = errAtLine(l.line, "unexpected %q", l.text[:size])
	}
	return t, err
}

func isWordRune(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// skip skips blanks and comments.
func (l *ruleLexer) skip() error {
	for {
		l.take(len(l.text) - len(strings.TrimLeft(l.text, " \t\r\n")))
		switch {
		case l.isJSON:
			return nil
		case strings.HasPrefix(l.text, "#"), strings.HasPrefix(l.text, "//"):
			end := strings.IndexByte(l.text, '\n')
			if end < 0 {
				end = len(l.text)
			}
			l.take(end)
		case strings.HasPrefix(l.text, "/*"):
			end := strings.Index(l.text[2:], "*/")
			if end < 0 {
				return errAtLine(l.line, "a comment that does not end: want */")
			}
			l.take(end + 4)
		default:
			return nil
		}
	}
}

func (l *ruleLexer) quoted() (string, error) {
	end, closed := quotedEnd(l.text)
	line := l.line
	if !closed || strings.Contains(l.text[:end], "\n") {
		return "", errAtLine(line, "a string that does not end in its line: want \"")
	}
	raw := l.take(end + 1)
	var text string
	var err error
	if l.isJSON {
		err = json.Unmarshal([]byte(raw), &text)
	} else {
		text, err = strconv.Unquote(raw)
	}
	if err != nil {
		return "", errAtLine(line, "%s: an escape that is none", raw)
	}
	return text, nil
}

// heredoc reads a text between two lines with the same word, as in <<END.
func (l *ruleLexer) heredoc() (string, error) {
	line := l.line
	first, rest, _ := strings.Cut(l.text, "\n")
	word := strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(first, "<<"), "-"))
	for at := len(l.text) - len(rest); word != "" && at < len(l.text); {
		one, _, _ := strings.Cut(l.text[at:], "\n")
		if strings.TrimSpace(one) == word {
			text := rest[:at-(len(l.text)-len(rest))]
			l.take(at + len(one))
			return text, nil
		}
		at += len(one) + 1
	}
	return "", errAtLine(line, "a text after << that does not end: want %q in a line of its own", word)
}

// quotedEnd returns where the string ends that a text begins with, and whether a
// quote does it.
func quotedEnd(text string) (end int, closed bool) {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return i, true
		case '\\':
			i++
		}
	}
	return len(text), false
}
