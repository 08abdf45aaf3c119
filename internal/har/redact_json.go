package har

import (
	"encoding/json"
	"strings"
)

// jsonString is a string in a JSON text.
type jsonString struct {
	text     string // unquoted
	isName   bool   // of a member
	member   string // the member that it is the value of, or an element of the value
	inArray  bool
	inHeader bool // the member is one of a member Header, as checks have it
}

// isSecret reports whether a string is a secret by the name of its member. Lists
// are those of headers only: others may be the tags of a service called token.
func (s jsonString) isSecret() bool {
	return !s.isName && isSecretName(s.member) && (!s.inArray || s.inHeader)
}

// maxNesting is how deep objects and arrays are told apart.
const maxNesting = 1000

// container is an object or array around a string.
type container struct {
	member  string // that it is the value of
	isArray bool
}

// jsonWalk is the state of mapStrings.
type jsonWalk struct {
	around []container
	deeper int    // containers beyond maxNesting
	member string // whose value comes next
}

// mapStrings returns a text with every JSON string in it replaced by what f
// returns. The text may be cut off, and need not be JSON at all. What f does not
// change stays as it is, byte for byte.
func mapStrings(text string, f func(jsonString) string) string {
	var b strings.Builder
	var w jsonWalk
	copied := 0
	for i := 0; i < len(text); i++ {
		if text[i] != '"' {
			w.step(text[i])
			continue
		}
		end, closed := stringEnd(text, i+1)
		raw := text[i+1 : end]
		after := end
		if closed {
			after++
		}
		s := w.place(raw, strings.HasPrefix(strings.TrimLeft(text[after:min(len(text), after+100)], " \t\r\n"), ":"))
		if mapped := f(s); mapped != s.text {
			b.WriteString(text[copied : i+1])
			quoted := quoteJSON(mapped, false)
			b.WriteString(quoted[1 : len(quoted)-1])
			copied = end
		}
		i = after - 1
	}
	if copied == 0 {
		return text
	}
	b.WriteString(text[copied:])
	return b.String()
}

// stringEnd returns where a string ends, and whether a quote does it.
func stringEnd(text string, i int) (end int, closed bool) {
	for ; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i, true
		}
	}
	return len(text), false
}

// step takes note of what is between strings.
func (w *jsonWalk) step(c byte) {
	switch c {
	case '{', '[':
		if len(w.around) == maxNesting {
			w.deeper++
			return
		}
		w.around = append(w.around, container{w.member, c == '['})
		w.member = ""
	case '}', ']':
		if w.deeper > 0 {
			w.deeper--
		} else if len(w.around) > 0 {
			w.around = w.around[:len(w.around)-1]
		}
		w.member = ""
	case ',':
		w.member = ""
	}
}

// place returns what is known of the string that comes next.
func (w *jsonWalk) place(raw string, beforeColon bool) jsonString {
	s := jsonString{text: raw}
	if json.Unmarshal([]byte(`"`+raw+`"`), &s.text) != nil {
		s.text = raw
	}
	n := len(w.around)
	s.inArray = n > 0 && w.around[n-1].isArray
	switch {
	case s.inArray:
		s.member = w.around[n-1].member
		s.inHeader = n > 1 && strings.EqualFold(w.around[n-2].member, "header")
	case beforeColon:
		s.isName = true
		w.member = s.text
	default:
		s.member = w.member
	}
	return s
}
