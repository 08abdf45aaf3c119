package consulmock

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// This file parses the language of access control rules, without regard to what the
// words mean.

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
	end, closed := stringEnd(l.text, 1)
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
