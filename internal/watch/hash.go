package watch

import (
	"hash/maphash"
	"math"
	"reflect"
	"slices"
)

// A hasher tells whether two values have the same content. The indexes inside a response (CreateIndex and
// ModifyIndex) tell when something changed and not what it is, so they do not
// count, and neither does the order of the tags in a map[string][]string, which
// agents send in random order.
//
// Two contents that differ have the same hash with a probability of 2^-64.
type hasher struct {
	seed   maphash.Seed
	fields map[reflect.Type][]int // of struct types: the fields that count
	inside []reference            // what the value being hashed is part of
}

// reference is a pointer, map or slice.
type reference struct {
	t    reflect.Type
	at   uintptr
	size int // of a slice
}

// ContentChanges returns a function that reports whether the content of a value differs
// from that of the call before. Of a list of pointers it keeps the pointers, so that it looks
// only at elements that are not the same ones as before.
func ContentChanges[T any]() func(T) bool {
	h := newHasher()
	if t := reflect.TypeFor[T](); t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Pointer {
		return listChanged[T](h)
	}
	var last uint64
	first := true
	return func(v T) bool {
		sum := h.sum(v)
		changed := first || sum != last
		first, last = false, sum
		return changed
	}
}

// listChanged is ContentChanges for a list of pointers.
func listChanged[T any](h *hasher) func(T) bool {
	var last reflect.Value
	return func(v T) bool {
		list := reflect.ValueOf(v)
		changed := !last.IsValid() || last.Len() != list.Len()
		same := !changed
		for i := 0; i < list.Len() && !changed; i++ {
			if list.Index(i).Pointer() != last.Index(i).Pointer() {
				same = false
				changed = h.sum(list.Index(i).Interface()) != h.sum(last.Index(i).Interface())
			}
		}
		if !same { // a copy, because the loop may sort its own
			last = reflect.MakeSlice(list.Type(), list.Len(), list.Len())
			reflect.Copy(last, list)
		}
		return changed
	}
}

func newHasher() *hasher {
	return &hasher{seed: maphash.MakeSeed(), fields: make(map[reflect.Type][]int)}
}

// sum returns the hash of the content of v.
func (h *hasher) sum(v any) uint64 {
	var m maphash.Hash
	m.SetSeed(h.seed)
	if services, ok := v.(map[string][]string); ok {
		return h.unordered(len(services), func(add func(func(*maphash.Hash))) {
			for name, tags := range services {
				set := h.unordered(len(tags), func(add func(func(*maphash.Hash))) {
					for _, tag := range tags {
						add(func(m *maphash.Hash) { writeString(m, tag) })
					}
				})
				add(func(m *maphash.Hash) { writeString(m, name); writeUint(m, set) })
			}
		})
	}
	h.write(&m, reflect.ValueOf(v))
	return m.Sum64()
}

// unordered hashes n elements regardless of their order.
func (h *hasher) unordered(n int, each func(add func(write func(*maphash.Hash)))) uint64 {
	total := uint64(n)
	each(func(write func(*maphash.Hash)) {
		var m maphash.Hash
		m.SetSeed(h.seed)
		write(&m)
		total += m.Sum64()
	})
	return total
}

// enter reports whether v is not part of itself. After that, leave has to be
// called.
func (h *hasher) enter(v reflect.Value) bool {
	r := reference{t: v.Type(), at: v.Pointer()}
	if v.Kind() == reflect.Slice {
		r.size = v.Len()
	}
	if slices.Contains(h.inside, r) {
		return false
	}
	h.inside = append(h.inside, r)
	return true
}

func (h *hasher) leave() { h.inside = h.inside[:len(h.inside)-1] }

func (h *hasher) write(m *maphash.Hash, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		writeString(m, v.String())
	case reflect.Bool:
		if v.Bool() {
			writeUint(m, 1)
		} else {
			writeUint(m, 0)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		writeUint(m, uint64(v.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		writeUint(m, v.Uint())
	case reflect.Float32, reflect.Float64:
		writeUint(m, math.Float64bits(v.Float()))
	case reflect.Complex64, reflect.Complex128:
		writeUint(m, math.Float64bits(real(v.Complex())))
		writeUint(m, math.Float64bits(imag(v.Complex())))
	case reflect.Struct:
		for _, i := range h.counting(v.Type()) {
			h.write(m, v.Field(i))
		}
	case reflect.Array:
		h.writeList(m, v)
	case reflect.Interface:
		if v.IsNil() {
			writeUint(m, 0)
			return
		}
		writeUint(m, 1)
		writeString(m, v.Elem().Type().String())
		h.write(m, v.Elem())
	case reflect.Pointer, reflect.Slice, reflect.Map:
		h.writeReference(m, v)
	}
}

// writeReference writes what a pointer, slice or map leads to, unless that is what
// v is part of.
func (h *hasher) writeReference(m *maphash.Hash, v reflect.Value) {
	if v.Kind() == reflect.Pointer && v.IsNil() {
		writeUint(m, 0)
		return
	}
	if !h.enter(v) {
		return
	}
	defer h.leave()
	switch v.Kind() {
	case reflect.Pointer:
		writeUint(m, 1)
		h.write(m, v.Elem())
	case reflect.Slice:
		h.writeList(m, v)
	case reflect.Map:
		writeUint(m, h.unordered(v.Len(), func(add func(func(*maphash.Hash))) {
			for it := v.MapRange(); it.Next(); {
				add(func(m *maphash.Hash) {
					h.write(m, it.Key())
					h.write(m, it.Value())
				})
			}
		}))
	}
}

func (h *hasher) writeList(m *maphash.Hash, v reflect.Value) {
	writeUint(m, uint64(v.Len()))
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
		m.Write(v.Bytes())
		return
	}
	for i := range v.Len() {
		h.write(m, v.Index(i))
	}
}

// counting returns the fields of a struct type that are content.
func (h *hasher) counting(t reflect.Type) []int {
	fields, ok := h.fields[t]
	if !ok {
		for i := range t.NumField() {
			f := t.Field(i)
			isIndex := f.Type.Kind() == reflect.Uint64 && (f.Name == "CreateIndex" || f.Name == "ModifyIndex")
			if !isIndex {
				fields = append(fields, i)
			}
		}
		h.fields[t] = fields
	}
	return fields
}

// writeString writes the length too, so that the parts of a sequence cannot be
// shifted unnoticed.
func writeString(m *maphash.Hash, s string) {
	writeUint(m, uint64(len(s)))
	m.WriteString(s)
}

func writeUint(m *maphash.Hash, n uint64) {
	var b [8]byte
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
	m.Write(b[:])
}
