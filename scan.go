package consul

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
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

// string reads a string. What it returns is good until the next one is read.
func (d *decoder) string() []byte {
	if d.next() != '"' {
		d.want("a string")
		return nil
	}
	start := d.pos + 1
	rest := d.data[start:]
	n := 0
	for ; len(rest)-n >= 8; n += 8 {
		if odd := oddBytes(binary.LittleEndian.Uint64(rest[n : n+8])); odd != 0 {
			n += bits.TrailingZeros64(odd) / 8
			break
		}
	}
	if n < len(rest) && rest[n] == '"' {
		d.pos = start + n + 1
		return rest[:n:n]
	}
	return d.unquote(start, start+n)
}

// oddBytes sets the top bit of the first of eight bytes that does not stand for
// itself in a string: a quote, a backslash, a control character, or one beyond
// ASCII. It may set others after that.
func oddBytes(w uint64) uint64 {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	quote, backslash := w^'"'*ones, w^'\\'*ones
	return ((quote - ones) | (backslash - ones) | (w - ' '*ones) | w) & tops
}

// unquote reads a string from the byte after its quote on. The bytes up to i are
// known to stand for themselves.
func (d *decoder) unquote(start, i int) []byte {
	s := append(d.unquoted[:0], d.data[start:i]...)
	for i < len(d.data) {
		r, n := rune(d.data[i]), 1
		switch {
		case r == '"':
			d.pos = i + 1
			d.unquoted = s
			return s
		case r == '\\':
			r, n = unescape(d.data[i:])
		case r < ' ':
			n = 0
		case r >= utf8.RuneSelf:
			r, n = utf8.DecodeRune(d.data[i:]) // U+FFFD for what is broken
		}
		if n == 0 {
			d.fail(i, fmt.Sprintf("%q in a string", d.data[i:min(i+2, len(d.data))]))
			return nil
		}
		s = utf8.AppendRune(s, r)
		i += n
	}
	d.fail(i, "want a quote, got the end")
	return nil
}

// unescape returns what the escape at the start of b means, and its length. Half
// of a surrogate pair means U+FFFD.
func unescape(b []byte) (r rune, n int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	}
	if r = codeUnit(b); r < 0 {
		return 0, 0
	}
	if utf16.IsSurrogate(r) {
		if r = utf16.DecodeRune(r, codeUnit(b[6:])); r != utf8.RuneError {
			return r, 12
		}
	}
	return r, 6
}

// codeUnit returns the value of \uXXXX at the start of b, or -1.
func codeUnit(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// keep returns a string that does not share memory with b.
func (d *decoder) keep(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	hash := byte(len(b)) + b[0]*5 + b[len(b)/2]*17 + b[len(b)-1]*67
	known := &d.known[hash]
	if *known == string(b) {
		return *known
	}
	if len(b) > textBlock/4 {
		return string(b)
	}
	if d.texts.Cap()-d.texts.Len() < len(b) {
		d.texts = strings.Builder{}
		d.texts.Grow(max(d.block(textBlock), len(b)))
	}
	start := d.texts.Len()
	d.texts.Write(b)
	*known = d.texts.String()[start:]
	return *known
}

// text reads a string, or a null, which changes nothing.
func (d *decoder) text(p *string) {
	if d.next() == '"' || !d.null() {
		*p = d.keep(d.string())
	}
}

func (d *decoder) textValue() (s string) {
	d.text(&s)
	return s
}

func (d *decoder) bool(p *bool) {
	switch d.next() {
	case 't':
		*p = d.literal("true")
	case 'f':
		*p = !d.literal("false")
	default:
		if !d.null() {
			d.want("true or false")
		}
	}
}

// number reads a number of any form and returns its text.
func (d *decoder) number() []byte {
	d.next()
	end := d.pos
	for end < len(d.data) && strings.IndexByte("0123456789+-.eE", d.data[end]) >= 0 {
		end++
	}
	text := d.data[d.pos:end]
	switch {
	case len(text) == 0:
		d.want("a value")
		return nil
	case !json.Valid(text):
		d.fail(d.pos, "malformed number")
		return nil
	}
	d.pos = end
	return text
}

// digits reads a number that is made of few digits and nothing else, as nearly
// all are, if that is what comes next.
func (d *decoder) digits() (n uint64, ok bool) {
	const few = 18 // fit into 64 bits
	zero := d.next() == '0'
	i := d.pos
	for ; i < len(d.data) && '0' <= d.data[i] && d.data[i] <= '9'; i++ {
		n = n*10 + uint64(d.data[i]-'0')
	}
	if count := i - d.pos; count == 0 || count > few || zero && count > 1 {
		return 0, false
	}
	if i < len(d.data) && (d.data[i] == '.' || d.data[i]|0x20 == 'e') {
		return 0, false
	}
	d.pos = i
	return n, true
}

// isNumber reports whether a number comes next; it reads a null, and fails if
// something else comes.
func (d *decoder) isNumber() bool {
	if c := d.next(); c == '-' || '0' <= c && c <= '9' {
		return true
	}
	if !d.null() {
		d.want("a number")
	}
	return false
}

func (d *decoder) signed(bits int) int64 {
	text := d.number()
	n, err := strconv.ParseInt(string(text), 10, bits)
	if err != nil {
		d.badNumber(text, fmt.Sprintf("of %d bits", bits))
	}
	return n
}

func (d *decoder) badNumber(text []byte, limits string) {
	d.fail(d.pos-len(text), "want a whole number "+limits+", got "+shorten(string(text), maxErrorSnippet))
}

func (d *decoder) int(p *int) {
	n, ok := d.digits()
	if ok && n <= math.MaxInt {
		*p = int(n)
	} else if d.isNumber() {
		*p = int(d.signed(strconv.IntSize))
	}
}

func (d *decoder) uint64(p *uint64) {
	if n, ok := d.digits(); ok {
		*p = n
	} else if d.isNumber() {
		text := d.number()
		n, err := strconv.ParseUint(string(text), 10, 64)
		if err != nil {
			d.badNumber(text, "of 64 bits without a sign")
		}
		*p = n
	}
}

// duration reads what wireDuration does.
func (d *decoder) duration(p *time.Duration) {
	if d.next() != '"' {
		if d.isNumber() {
			*p = time.Duration(d.signed(64))
		}
		return
	}
	start := d.pos
	v, err := parseWireDuration(d.keep(d.string()))
	if err != nil {
		d.fail(start, err.Error())
	}
	*p = v
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

// raw keeps a value as it is.
func (d *decoder) raw(p *json.RawMessage) {
	text := d.value()
	if len(d.raws) < len(text) {
		d.raws = make([]byte, max(d.block(textBlock), len(text)))
	}
	*p = d.raws[:len(text):len(text)]
	d.raws = d.raws[len(text):]
	copy(*p, text)
}

// list reads an array, or a null, which makes the slice nil. A slice that comes
// twice is overwritten element by element, and nulls then leave what an earlier
// one had in their places, even if a shorter one came in between.
func list[T any](d *decoder, p *[]T, element func(*decoder, *T)) {
	if d.null() {
		*p = nil
		return
	}
	s, n := *p, 0
	for range d.array {
		switch {
		case n < len(s):
		case n < cap(s):
			s = s[:n+1]
		default:
			var zero T
			s = append(s, zero)
		}
		element(d, &s[n])
		n++
	}
	if *p = s[:n]; n == 0 {
		*p = []T{}
	}
}

// strings reads a list of strings.
func (d *decoder) strings(p *[]string) {
	if *p != nil {
		list(d, p, (*decoder).text)
		return
	}
	if len(d.lists) < d.block(listBlock)/4+1 {
		d.lists = make([]string, d.block(listBlock))
	}
	*p = d.lists[:0]
	list(d, p, (*decoder).text)
	if n := len(*p); n <= len(d.lists) {
		*p, d.lists = (*p)[:n:n], d.lists[n:]
	} else {
		d.lists = nil // the list has outgrown it, but has been there
	}
}

func (d *decoder) stringsValue() (s []string) {
	d.strings(&s)
	return s
}

// dict reads an object with any names into a map, or a null, which makes it nil.
func dict[T any](d *decoder, p *map[string]T, value func(*decoder) T) {
	if d.null() {
		*p = nil
		return
	}
	if *p == nil {
		*p = make(map[string]T)
	}
	for name := range d.object {
		key := d.keep(name)
		(*p)[key] = value(d)
	}
}
