package acl

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

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
