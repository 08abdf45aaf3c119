package consul

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// decoder reads JSON once, from front to back. Every method reads one thing; the
// first that finds something else notes it as the error and moves to the end of
// the data, so that all later ones find nothing, and no caller has to check in between.
//
// What is decoded shares memory, but none with data. Strings that several elements
// of a list have, as most do, are one string, and so are equal lists of strings and
// equal raw values; the others are cut off blocks of textBlock bytes and listBlock
// strings. So an element that is kept of a long list keeps its own allocations, a
// block of each kind, and the strings that are common to all. In a response shorter
// than seenFrom, each string is its own.
type decoder struct {
	data  []byte
	pos   int
	depth int
	err   *decodeError

	unquoted []byte // room for a string with escapes
	last     []byte // the last object that value has read
	again    []byte // the last name in another spelling
	path     []int  // where the names start whose values are being read

	element  int // the number of the list's element that is being read
	seen     *seenTexts
	texts    strings.Builder
	textSize int // of the element's texts in blocks, so far
	textRoom int // what the next element is expected to need
	lists    []string
	lastRaw  json.RawMessage

	lastList   []string
	lastListIn int // the element in which it was new, or common

	checks []HealthCheck // room for those of the instance
}

// seenTexts are strings that may come again, by hash.
type seenTexts struct {
	recent [256]struct {
		text    string
		element int // in which it was new
	}
	common [256]string // those of several elements
}

const (
	textBlock = 512     // bytes
	listBlock = 16      // strings
	seenFrom  = 2 << 10 // bytes: seenTexts take more memory than a shorter response

	maxDepth = 10000 // of encoding/json

	unnamed = -1 // in decoder.path: no name has been read yet
	common  = 0  // in decoder.lastListIn: several elements have it; they are counted from 1 on
)

// block returns the size of a block, which is smaller for short responses.
func (d *decoder) block(size int) int {
	return max(size/8, min(size, len(d.data)/(8<<10/size)))
}

// newElement begins another element of the list that is all of a response. What is
// left of a block is not used if the element would probably not fit into it, so that
// an element keeps one block alive and not two. How much elements need varies, as
// some of their strings are those of earlier ones.
func (d *decoder) newElement() {
	d.element++
	d.textRoom = max(d.textSize, d.textRoom-d.textRoom/8)
	d.textSize = 0
	if d.texts.Cap()-d.texts.Len() < d.textRoom {
		d.texts = strings.Builder{}
	}
}

// decodeError is what was found in a response in place of what was expected.
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
		d.err = &decodeError{position: min(offset+1, len(d.data)), field: d.field(), what: shorten(what, maxErrorMessage)}
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

// array reads the start of an array, and reports whether there is anything in it.
// The values are read by
//
//	for more := d.array(); more; more = d.nextElement()
func (d *decoder) array() (more bool) { return d.open('[', ']', "an array") }

// nextElement reads what comes before the next value of an array, or its end.
func (d *decoder) nextElement() (more bool) { return d.more(']', "a comma or ]") }

// object reads the start of an object, and its first name. A null has none. The
// names of an object are read by
//
//	for name := d.object(); name != nil; name = d.nextName()
//
// whose body reads the values, or calls unknown.
func (d *decoder) object() (name []byte) {
	if d.null() || !d.open('{', '}', "an object") {
		return nil
	}
	d.path = append(d.path, unnamed)
	return d.name()
}

// nextName reads the next name of an object, or its end.
func (d *decoder) nextName() (name []byte) {
	if d.again != nil {
		name, d.again = d.again, nil
		return name
	}
	d.path[len(d.path)-1] = unnamed
	if !d.more('}', "a comma or }") {
		d.path = d.path[:len(d.path)-1]
		return nil
	}
	return d.name()
}

func (d *decoder) name() (name []byte) {
	if d.next() != '"' {
		d.want("a string")
		return nil
	}
	start := d.pos
	name = d.quoted()
	if d.next() != ':' {
		d.want("a colon")
		return nil
	}
	d.pos++
	d.path[len(d.path)-1] = start
	return name
}

// unknown is for a name that is none of those that are wanted here. It comes once
// more in the usual spelling, because encoding/json minds no case, and then is
// skipped.
func (d *decoder) unknown(name []byte) {
	if usual := usualSpelling(name); usual != nil && !bytes.Equal(usual, name) {
		d.again = usual
		return
	}
	d.skip()
}

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

// field returns the names, with dots between them, whose values are being read.
func (d *decoder) field() string {
	var names []string
	for _, start := range d.path {
		if start != unnamed {
			name := decoder{data: d.data, pos: start}
			name.quoted()
			names = append(names, string(d.data[start+1:name.pos-1]))
		}
	}
	return shorten(strings.Join(names, "."), maxErrorSnippet)
}

// skip reads a value of any kind.
func (d *decoder) skip() {
	switch d.next() {
	case '{':
		for name := d.object(); name != nil; name = d.nextName() {
			d.skip()
		}
	case '[':
		for more := d.array(); more; more = d.nextElement() {
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
