package consul

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// This file reads the values of fields.

// string reads a string. What it returns is good until the next one is read.
func (d *decoder) string() []byte {
	if d.next() != '"' {
		d.want("a string")
		return nil
	}
	return d.quoted()
}

// quoted reads a string whose first quote comes next.
func (d *decoder) quoted() []byte {
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
	if len(d.data) < seenFrom {
		return string(b)
	}
	hash := byte(len(b)) + b[0]*5 + b[len(b)/2]*17 + b[len(b)-1]*67
	if d.seen == nil {
		d.seen = new(seenTexts)
	}
	shared, recent := &d.seen.common[hash], &d.seen.recent[hash]
	if *shared == string(b) {
		return *shared
	}
	if recent.text == string(b) {
		if recent.element == d.element {
			return recent.text
		}
		if *shared == "" {
			*shared = string(b)
			return *shared
		}
	}
	if len(b) > textBlock/4 {
		return string(b)
	}
	if d.texts.Cap()-d.texts.Len() < len(b) {
		// A block of lists keeps the texts of all of them alive, so it must not go on.
		d.texts, d.lists = strings.Builder{}, nil
		d.texts.Grow(max(d.block(textBlock), len(b)))
	}
	start := d.texts.Len()
	d.texts.Write(b)
	d.textSize += len(b)
	recent.text, recent.element = d.texts.String()[start:], d.element
	return recent.text
}

// text reads a string, or a null, which changes nothing.
func (d *decoder) text(p *string) {
	if d.next() == '"' {
		*p = d.keep(d.quoted())
	} else if !d.null() {
		d.want("a string")
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

// raw keeps a value as it is.
func (d *decoder) raw(p *json.RawMessage) {
	text := d.value()
	if !bytes.Equal(d.lastRaw, text) {
		d.lastRaw = append(make(json.RawMessage, 0, len(text)), text...)
	}
	*p = d.lastRaw[:len(text):len(text)]
}

// base64 reads bytes, which are a string in base64, or a null, which makes them nil.
func (d *decoder) base64(p *[]byte) {
	switch d.next() {
	case '"':
		start := d.pos
		text := d.quoted()
		b := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
		n, err := base64.StdEncoding.Decode(b, text)
		if err != nil {
			d.fail(start, "want base64: "+err.Error())
		}
		*p = b[:n]
	case '[': // a list of numbers, which encoding/json takes as well
		start := d.pos
		if err := json.Unmarshal(d.value(), p); err != nil && d.err == nil {
			d.fail(start, err.Error())
		}
	default:
		if !d.null() {
			d.want("a string")
			return
		}
		*p = nil
	}
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
	for more := d.array(); more; more = d.nextElement() {
		if d.depth == 1 {
			d.newElement()
		}
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
		// The field comes twice. What it has may be shared with other elements.
		*p = append((*p)[:0:0], (*p)[:cap(*p)]...)[:len(*p)]
		list(d, p, (*decoder).text)
		return
	}
	if len(d.lists) < d.block(listBlock)/4+1 {
		d.lists = make([]string, d.block(listBlock))
	}
	*p = d.lists[:0]
	list(d, p, (*decoder).text)
	n := len(*p)
	switch {
	case n == 0:
		return
	case slices.Equal(*p, d.lastList):
		if in := d.lastListIn; in != common && in != d.element {
			// What several elements have must not keep a block of one of them alive.
			d.lastList, d.lastListIn = append(make([]string, 0, n), *p...), common
		}
		*p = d.lastList
		return
	case n <= len(d.lists):
		d.lists = d.lists[n:]
	default:
		d.lists = nil // the list has outgrown it, or the block is not to go on
	}
	*p = (*p)[:n:n]
	d.lastList, d.lastListIn = *p, d.element
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
	for name := d.object(); name != nil; name = d.nextName() {
		key := d.keep(name)
		(*p)[key] = value(d)
	}
}
