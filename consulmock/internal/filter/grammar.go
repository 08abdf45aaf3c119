package filter

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// This file, and match.go, exist for error messages: a parser without them would be
// a quarter as long. Agents name every literal and every class of characters that
// any rule expected at the place that the parser reached. So the grammar is written
// as it is tried, alternative by alternative.

// maxDepth bounds how many rules are being tried at once, of which each
// level of an expression takes about five. Agents have no such bound,
// but they take exponential time for nested parentheses.
const maxDepth = 20000

var errTooDeep = errors.New("expression is nested too deeply")

// node is a node of a parsed expression: not, and, or, or a match.
type node struct {
	op          string // not, and, or; empty for a match
	left, right *node
	match       *match
}

// match compares what a selector selects.
type match struct {
	selector []string
	op       operation
	raw      string // the value
}

type operation string

// The operators, in the words of error messages.
const (
	opEqual      operation = "Equal"
	opNotEqual   operation = "Not Equal"
	opIn         operation = "In"
	opNotIn      operation = "Not In"
	opIsEmpty    operation = "Is Empty"
	opIsNotEmpty operation = "Is Not Empty"
	opMatches    operation = "Matches"
	opNotMatches operation = "Not Matches"
)

// parse parses an expression. Its errors are in the words of agents.
func parse(expression string) (*node, error) {
	p := &parser{src: expression, memo: map[memoKey]memoEntry{}, expected: map[string]bool{}}
	p.checkEncoding()
	v, ok := p.input()
	switch {
	case p.tooDeep:
		return nil, errTooDeep
	case len(p.errs) > 0:
		return nil, errors.New(strings.Join(p.errs, "\n"))
	case !ok:
		return nil, errors.New(p.noMatch())
	}
	return v.(*node), nil
}

// parser tries rules at places in src. A rule is tried only once at a
// place, so the time is linear in the length of src.
type parser struct {
	src   string
	off   int
	rules []string // the rules that are being tried
	errs  []string // without duplicates

	inverted bool // what matches now is what should not be there
	failOff  int
	expected map[string]bool // at failOff

	memo    map[memoKey]memoEntry
	tooDeep bool
}

type memoKey struct {
	rule     string
	off      int
	inverted bool
}

type memoEntry struct {
	value any
	end   int
	ok    bool
}

// rule tries f, which is known as name in error messages and as id elsewhere.
func (p *parser) rule(id, name string, f func() (any, bool)) (any, bool) {
	if len(p.rules) > maxDepth || p.tooDeep {
		p.tooDeep = true
		return nil, false
	}
	key := memoKey{id, p.off, p.inverted}
	if m, ok := p.memo[key]; ok {
		p.off = m.end
		return m.value, m.ok
	}
	start := p.off
	p.rules = append(p.rules, name)
	v, ok := f()
	p.rules = p.rules[:len(p.rules)-1]
	if !ok {
		p.off = start
	}
	p.memo[key] = memoEntry{v, p.off, ok}
	return v, ok
}

// position returns the line and column of an offset. A line begins with the
// line feed before it, whose column is 0.
func (p *parser) position(off int) string {
	line, col := 1, 0
	for i, r := range p.src {
		if i > off {
			break
		}
		col++
		if r == '\n' {
			line, col = line+1, 0
		}
	}
	if off >= len(p.src) {
		col++
	}
	return fmt.Sprintf("%d:%d (%d)", line, col, off)
}

func (p *parser) addError(off int, message string) {
	text := p.position(off)
	if n := len(p.rules); n > 0 {
		text += ": rule " + p.rules[n-1]
	}
	text += ": " + message
	for _, e := range p.errs {
		if e == text {
			return
		}
	}
	p.errs = append(p.errs, text)
}

func (p *parser) noMatch() string {
	var list []string
	for want := range p.expected {
		if want != "!." {
			list = append(list, want)
		}
	}
	sort.Strings(list)
	if p.expected["!."] {
		list = append(list, "EOF")
	}
	text := ""
	switch n := len(list); n {
	case 0:
	case 1:
		text = list[0]
	default:
		text = strings.Join(list[:n-1], ", ") + " or " + list[n-1]
	}
	return p.position(p.failOff) + ": no match found, expected: " + text
}

// note records what was looked for at off, unless it was what should be there.
func (p *parser) note(matched bool, off int, want string) {
	if matched != p.inverted || off < p.failOff {
		return
	}
	if off > p.failOff {
		p.failOff = off
		clear(p.expected)
	}
	if p.inverted {
		want = "!" + want
	}
	p.expected[want] = true
}

// checkEncoding complains if the next character is not UTF-8.
func (p *parser) checkEncoding() {
	if r, n := utf8.DecodeRuneInString(p.src[p.off:]); r == utf8.RuneError && n == 1 {
		p.addError(p.off, "invalid encoding")
	}
}

func (p *parser) advance() {
	_, n := utf8.DecodeRuneInString(p.src[p.off:])
	p.off += n
	p.checkEncoding()
}

func (p *parser) literal(want string) bool {
	start := p.off
	for _, r := range want {
		if c, n := utf8.DecodeRuneInString(p.src[p.off:]); n == 0 || c != r {
			p.off = start
			p.note(false, start, strconv.Quote(want))
			return false
		}
		p.advance()
	}
	p.note(true, start, strconv.Quote(want))
	return true
}

// class matches one of the characters that the name, as in [a-z_], allows.
func (p *parser) class(name string, allows func(rune) bool) bool {
	start := p.off
	r, n := utf8.DecodeRuneInString(p.src[start:])
	ok := n > 0 && allows(r)
	if ok {
		p.advance()
	}
	p.note(ok, start, name)
	return ok
}

func (p *parser) any() bool {
	return p.class(".", func(rune) bool { return true })
}

// not succeeds if f fails, and takes nothing.
func (p *parser) not(f func() bool) bool {
	start := p.off
	p.inverted = !p.inverted
	ok := f()
	p.inverted = !p.inverted
	p.off = start
	return !ok
}

func (p *parser) atEnd() bool {
	_, ok := p.rule("end", "EOF", func() (any, bool) { return nil, p.not(p.any) })
	return ok
}

func isSpace(r rune) bool  { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }
func isDigit(r rune) bool  { return '0' <= r && r <= '9' }
func isLetter(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }

// space takes one or more blanks.
func (p *parser) space() bool {
	_, ok := p.rule("space", `"whitespace"`, func() (any, bool) {
		n := 0
		for p.class(`[ \t\r\n]`, isSpace) {
			n++
		}
		return nil, n > 0
	})
	return ok
}

func (p *parser) optSpace() bool {
	p.space()
	return true
}

// try runs f, and goes back to where it began if f fails.
func (p *parser) try(f func() (any, bool)) (any, bool) {
	start := p.off
	v, ok := f()
	if !ok {
		p.off = start
	}
	return v, ok
}

// first returns what the first alternative that succeeds returns.
func (p *parser) first(alternatives ...func() (any, bool)) (any, bool) {
	for _, f := range alternatives {
		if v, ok := p.try(f); ok {
			return v, true
		}
	}
	return nil, false
}

// complain records an error at this place, and fails.
func (p *parser) complain(message string) (any, bool) {
	p.addError(p.off, message)
	return nil, false
}

func (p *parser) input() (any, bool) {
	return p.rule("input", "Input", func() (any, bool) {
		return p.first(
			func() (v any, ok bool) {
				ok = p.optSpace() && p.literal("(") && p.optSpace()
				if ok {
					v, ok = p.or()
				}
				return v, ok && p.optSpace() && p.literal(")") && p.optSpace() && p.atEnd()
			},
			func() (any, bool) {
				p.optSpace()
				v, ok := p.or()
				return v, ok && p.optSpace() && p.atEnd()
			},
		)
	})
}

func (p *parser) or() (any, bool) {
	return p.rule("or", "OrExpression", func() (any, bool) { return p.binary("or", p.and, p.or) })
}

func (p *parser) and() (any, bool) {
	return p.rule("and", "AndExpression", func() (any, bool) { return p.binary("and", p.negation, p.and) })
}

func (p *parser) binary(op string, left, right func() (any, bool)) (any, bool) {
	return p.first(
		func() (any, bool) {
			l, ok := left()
			if !ok || !p.space() || !p.literal(op) || !p.space() {
				return nil, false
			}
			r, ok := right()
			if !ok {
				return nil, false
			}
			return &node{op: op, left: l.(*node), right: r.(*node)}, true
		},
		left,
	)
}

func (p *parser) negation() (any, bool) {
	return p.rule("not", "NotExpression", func() (any, bool) {
		return p.first(
			func() (any, bool) {
				if !p.literal("not") || !p.space() {
					return nil, false
				}
				v, ok := p.negation()
				if !ok {
					return nil, false
				}
				return &node{op: "not", left: v.(*node)}, true
			},
			p.group,
		)
	})
}

func (p *parser) group() (any, bool) {
	return p.rule("group", `"grouping"`, func() (any, bool) {
		open := func() (any, bool) {
			if !p.literal("(") {
				return nil, false
			}
			p.optSpace()
			v, ok := p.or()
			return v, ok && p.optSpace()
		}
		return p.first(
			func() (any, bool) {
				v, ok := open()
				return v, ok && p.literal(")")
			},
			p.match,
			func() (any, bool) {
				_, ok := open()
				if !ok || !p.not(func() bool { return p.literal(")") }) {
					return nil, false
				}
				return p.complain("Unmatched parentheses")
			},
		)
	})
}
