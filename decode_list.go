package consul

import (
	"hash/maphash"
	"math"
	"reflect"
	"slices"
)

// This file decodes a response at the cost of what has changed since an earlier
// one.

// Result stands for a response that was decoded. It is made by a read and passed to
// the next one in [QueryOptions.Previous]; nothing else can be done with it. It does
// not change, and may be used by several queries at once. The zero Result is that
// of no response.
type Result struct {
	list any // the *decodedList of a list, else nil

	// Of any other response, its bytes, and what they were decoded into.
	bytes elementBytes
	value any

	size int // of the response; the next one is about as long
}

// decodeNext decodes a response into the out of a call that keeps a result. It
// leaves out what the result before has, if the out may have parts of it.
func decodeNext(data []byte, media string, r *call) (*Result, error) {
	previous := r.previous
	if previous == nil {
		previous = &Result{}
	}
	if !r.shared {
		if err := decode(data, media, r.out); err != nil {
			return nil, err
		}
		if b := bytesOf(data); b != previous.bytes {
			return &Result{bytes: b}, nil
		}
		return previous, nil
	}
	d := decoder{data: data}
	if result, known := d.typedNext(r.out, previous); known {
		if result != nil && result != previous {
			result.size = len(data)
		}
		return result, d.problem(media)
	}
	result := &Result{bytes: bytesOf(data), size: len(data)}
	out := reflect.ValueOf(r.out).Elem()
	if v := reflect.ValueOf(previous.value); result.bytes == previous.bytes && v.IsValid() && v.Type() == out.Type() {
		out.Set(ownSlice(v))
		return previous, nil
	}
	if err := decode(data, media, r.out); err != nil {
		return nil, err
	}
	result.value = ownSlice(out).Interface()
	return result, nil
}

// ownSlice returns a value, or a copy of it if it is a slice: callers may sort
// theirs.
func ownSlice(v reflect.Value) reflect.Value {
	if v.Kind() != reflect.Slice || v.IsNil() {
		return v
	}
	return reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), v)
}

// typedNext is typed for a list that may have elements of an earlier one. What out
// points to must be nil.
func (d *decoder) typedNext(out any, previous *Result) (result *Result, known bool) {
	switch out := out.(type) {
	case *[]*ServiceEntry:
		return nextList(d, out, previous, (*decoder).serviceEntry), true
	case *HealthChecks:
		return nextList(d, (*[]*HealthCheck)(out), previous, (*decoder).healthCheck), true
	case *[]*CatalogService:
		return nextList(d, out, previous, (*decoder).catalogService), true
	case *[]*Node:
		return nextList(d, out, previous, (*decoder).catalogNode), true
	case *[]*KVPair:
		return nextList(d, out, previous, (*decoder).kvPair), true
	}
	return nil, false
}

func nextList[T any](d *decoder, out *[]T, previous *Result, element func(*decoder, *T)) *Result {
	before, _ := previous.list.(*decodedList[T])
	next := decodeList(d, before, element)
	if d.end(); d.err != nil || next == nil {
		return nil
	}
	// The caller may sort its list, but not the one that is to be compared with.
	*out = append(make([]T, 0, len(next.elements)), next.elements...)
	if next == before {
		return previous
	}
	return &Result{list: next}
}

// decodedList is a decoded list and what it takes to decode the next one at the
// cost of what has changed: where an element's bytes are those of an element of
// this list, that element stands in the new list too, by pointer. It does not
// change once it is made.
type decodedList[T any] struct {
	elements []T // pointers
	bytes    []elementBytes
}

// elementBytes identifies the JSON of an element. That another text has the same
// size and hash has a probability of 2^-64, even if it was made on purpose: nobody
// else knows the seed.
type elementBytes struct {
	hash uint64
	size int
}

var hashSeed = maphash.MakeSeed()

func bytesOf(text []byte) elementBytes {
	return elementBytes{maphash.Bytes(hashSeed, text), len(text)}
}

// decodeList decodes a list that may have elements of the list before, which may
// be nil. It returns before itself if nothing has changed, and nil for a null or
// if d has failed.
func decodeList[T any](d *decoder, before *decodedList[T], element func(*decoder, *T)) *decodedList[T] {
	if d.null() {
		return nil
	}
	var old decodedList[T]
	if before != nil {
		old = *before
	}
	index := elementIndex{bytes: old.bytes}
	var next *decodedList[T] // nil as long as nothing has changed
	same := 0                // elements of which that is known
	expected := 0
	for more := d.array(); more; more = d.nextElement() {
		d.newElement()
		d.next()
		i := index.find(d, expected)
		if next == nil && i == same {
			d.pos += old.bytes[i].size
			same, expected = same+1, i+1
			continue
		}
		if next == nil {
			next = old.first(same)
		}
		if i >= 0 {
			next.elements = append(next.elements, old.elements[i])
			next.bytes = append(next.bytes, old.bytes[i])
			d.pos += old.bytes[i].size
			expected = i + 1
			continue
		}
		start := d.pos
		next.elements = append(next.elements, *new(T))
		element(d, &next.elements[len(next.elements)-1])
		next.bytes = append(next.bytes, bytesOf(d.data[start:d.pos]))
		expected++
	}
	switch {
	case d.err != nil:
		return nil
	case next != nil:
		next.elements, next.bytes = trim(next.elements), trim(next.bytes)
		return next
	case before != nil && same == len(old.elements):
		return before
	}
	return old.first(same)
}

// first returns a list of the first n elements, with room for as many as l has.
func (l *decodedList[T]) first(n int) *decodedList[T] {
	return &decodedList[T]{
		elements: append(make([]T, 0, len(l.elements)), l.elements[:n]...),
		bytes:    append(make([]elementBytes, 0, len(l.bytes)), l.bytes[:n]...),
	}
}

// trim returns the slice without room that will never be used, because lists are
// kept for long.
func trim[T any](s []T) []T {
	if cap(s)-len(s) > len(s)/16 {
		return append(make([]T, 0, len(s)), s...)
	}
	return s
}

// elementIndex finds the elements of a list by their bytes.
type elementIndex struct {
	bytes []elementBytes

	missed int // bytes that were read in vain at the expected places

	// slots is a hash table, made when an element is not where it is expected: the
	// indexes, plus 1, of the elements; 0 is free. It has at least twice as many
	// slots as there are elements, and collisions go to the next one.
	slots []int32
}

// find returns the index of the element whose bytes come next in d, -1 if there
// is none. It looks at the expected place first.
func (x *elementIndex) find(d *decoder, expected int) int {
	rest := d.data[d.pos:]
	if expected < len(x.bytes) {
		want := x.bytes[expected]
		// The guess is given up where it would read more than there is.
		if want.size <= len(rest) && x.missed <= len(d.data) {
			if bytesOf(rest[:want.size]) == want {
				return expected
			}
			x.missed += want.size
		}
	}
	if len(x.bytes) == 0 || len(x.bytes) > math.MaxInt32 {
		return -1
	}
	// The end of the element is not known before it has been read once.
	ahead := decoder{data: d.data, pos: d.pos, depth: d.depth}
	if ahead.skip(); ahead.err != nil {
		return -1
	}
	return x.lookUp(bytesOf(d.data[d.pos:ahead.pos]))
}

func (x *elementIndex) lookUp(want elementBytes) int {
	if x.slots == nil {
		size := 1
		for size < 2*len(x.bytes) {
			size *= 2
		}
		x.slots = make([]int32, size)
		for i, b := range slices.Backward(x.bytes) {
			*x.slot(b.hash, func(j int) bool { return x.bytes[j] == b }) = int32(i + 1)
		}
	}
	return int(*x.slot(want.hash, func(j int) bool { return x.bytes[j] == want })) - 1
}

// slot returns the slot of an element, or the free one in which it belongs.
func (x *elementIndex) slot(hash uint64, is func(int) bool) *int32 {
	mask := uint64(len(x.slots) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		if s := &x.slots[at]; *s == 0 || is(int(*s-1)) {
			return s
		}
	}
}
