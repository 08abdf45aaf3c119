package consul

import (
	"bytes"
	"strconv"
	"strings"
)

// decoder reads JSON once, from front to back. Every method reads one thing; the
// first that finds something else notes it as the error and moves to the end of
// the data, so that all later ones find nothing, and nobody has to ask in between.
//
// What is decoded shares memory, but none with data. Strings that come again, as
// most do, are one string; new ones are cut off blocks of textBlock bytes, and
// lists of strings off blocks of listBlock. So one instance that is kept of a long
// answer keeps its own allocations and a few such blocks; to copy each string by
// itself would take four times the allocations, and to cut them off one copy of
// the whole text would keep all of it.
type decoder struct {
	data  []byte
	pos   int
	depth int
	err   *decodeError

	unquoted []byte // room for a string with escapes
	last     []byte // the last object that value has read
	missed   bool   // the last name was unknown

	known [256]string // the last string with each hash
	texts strings.Builder
	lists []string
	raws  []byte

	checks []HealthCheck // room for those of the instance
}

const (
	textBlock = 1024 // bytes
	listBlock = 32   // strings

	maxDepth = 10000 // of encoding/json
)

// block returns the size of a block, which is less than usual for short answers.
func (d *decoder) block(size int) int {
	return max(size/8, min(size, len(d.data)/(8<<10/size)))
}

// decodeError says where in an answer is what else than expected.
type decodeError struct {
	position int    // of the byte, from 1 on; 0 if unknown
	field    string // as in Checks.Status; empty outside of objects
	what     string
	cause    error // if it came from elsewhere
}

func (e *decodeError) Unwrap() error { return e.cause }

func (e *decodeError) Error() string {
	if e.field == "" {
		return e.what
	}
	return "field " + e.field + ": " + e.what
}

func (d *decoder) fail(offset int, what string) {
	if d.err == nil {
		d.err = &decodeError{position: min(offset+1, len(d.data)), what: what}
		d.pos = len(d.data)
	}
}

// want fails because the next thing is not what is wanted.
func (d *decoder) want(what string) {
	switch c := d.next(); {
	case d.pos == len(d.data):
		what += ", got the end"
	case c == '"':
		what += ", got a string"
	case c == '{':
		what += ", got an object"
	case c == '[':
		what += ", got an array"
	case c == '-' || '0' <= c && c <= '9':
		what += ", got a number"
	default:
		what += ", got " + strconv.QuoteRuneToASCII(rune(c))
	}
	d.fail(d.pos, "want "+what)
}

// next skips blanks and returns the byte after them, or 0 at the end.
func (d *decoder) next() byte {
	for d.pos < len(d.data) {
		c := d.data[d.pos]
		if c > ' ' || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
		d.pos++
	}
	return 0
}

// end makes sure that nothing follows.
func (d *decoder) end() {
	if d.next(); d.pos < len(d.data) {
		d.want("nothing more")
	}
}

// null reads a null if there is one.
func (d *decoder) null() bool {
	return d.next() == 'n' && d.literal("null")
}

func (d *decoder) literal(word string) bool {
	if rest := d.data[d.pos:]; len(rest) < len(word) || string(rest[:len(word)]) != word {
		d.fail(d.pos, "want "+word)
		return false
	}
	d.pos += len(word)
	return true
}

// open reads the bracket that starts an object or an array. It reports whether
// there is anything in it.
func (d *decoder) open(bracket, closing byte, what string) bool {
	if d.next() != bracket {
		d.want(what)
		return false
	}
	if d.depth++; d.depth > maxDepth {
		d.fail(d.pos, "nested too deeply")
		return false
	}
	d.pos++
	if d.next() == closing {
		d.pos++
		d.depth--
		return false
	}
	return true
}

// more reads what follows a value in an object or an array. It reports whether
// that is another one.
func (d *decoder) more(closing byte, what string) bool {
	switch d.next() {
	case ',':
		d.pos++
		return true
	case closing:
		d.pos++
		d.depth--
	default:
		d.want(what)
	}
	return false
}

// array ranges over the values of an array. The loop's body reads them.
func (d *decoder) array(yield func() bool) {
	for more := d.open('[', ']', "an array"); more; more = d.more(']', "a comma or ]") {
		if !yield() {
			return
		}
	}
}

// object ranges over the names in an object; a null has none. The loop's body
// reads the values. A name that it calls unknown it gets once more in the usual
// spelling, because encoding/json minds no case.
func (d *decoder) object(yield func(name []byte) bool) {
	if d.null() {
		return
	}
	for more := d.open('{', '}', "an object"); more; more = d.more('}', "a comma or }") {
		start := d.pos
		name := d.string()
		end := d.pos
		if d.next() != ':' {
			d.want("a colon")
			return
		}
		d.pos++
		if !yield(name) {
			return
		}
		if d.missed {
			d.missed = false
			if usual := usualSpelling(name); usual == nil || yield(usual) && d.missed {
				d.missed = false
				d.skip()
			}
		}
		if d.err != nil {
			d.err.within(d.data[start:end])
			return
		}
	}
}

// unknown says that a name is not one of those that are wanted here.
func (d *decoder) unknown() { d.missed = true }

// usualSpelling returns the field's name that name is in another spelling, if
// any.
func usualSpelling(name []byte) []byte {
	return fieldNames()[strings.Map(foldLetter, string(name))]
}

// foldLetter makes equal what encoding/json holds for equal, as far as there are
// such letters in our fields' names.
func foldLetter(r rune) rune {
	switch {
	case 'A' <= r && r <= 'Z':
		return r - 'A' + 'a'
	case r == '\u212a': // the sign for kelvin
		return 'k'
	case r == '\u017f': // the long s
		return 's'
	}
	return r
}

// within notes that the error is in the value of a name, which is still in
// quotes.
func (e *decodeError) within(name []byte) {
	path := strings.Trim(string(bytes.TrimSpace(name)), `"`)
	if e.field != "" {
		path += "." + e.field
	}
	e.field = shorten(path, maxErrorSnippet)
}

// skip reads a value of any kind.
func (d *decoder) skip() {
	switch d.next() {
	case '{':
		for range d.object {
			d.skip()
		}
	case '[':
		for range d.array {
			d.skip()
		}
	case '"':
		d.string()
	case 't':
		d.literal("true")
	case 'f':
		d.literal("false")
	case 'n':
		d.literal("null")
	default:
		d.number()
	}
}

// value reads a value of any kind and returns its text.
func (d *decoder) value() []byte {
	c := d.next()
	start := d.pos
	if rest := d.data[start:]; c == '{' && len(d.last) > 0 && bytes.HasPrefix(rest, d.last) {
		d.pos += len(d.last)
		return d.last
	}
	if d.skip(); d.err != nil {
		return nil
	}
	text := d.data[start:d.pos]
	if c == '{' && len(text) < textBlock { // and so not nested deeply
		d.last = text
	}
	return text
}
