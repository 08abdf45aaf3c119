package consul

import (
	"bytes"
	"runtime"
)

// A list of this many bytes, which is about a hundred instances, is decoded by two
// goroutines where two can run, in little more than half of the time: compare
// BenchmarkDecode with -cpu 1,2 and GOGC=400.
const splitFrom = 128 << 10

// longList reads a list that is all of an answer. Its elements start like start,
// which is a brace and a name.
func longList[T any](d *decoder, p *[]T, element func(*decoder, *T), start string) {
	if len(d.data) >= splitFrom && runtime.GOMAXPROCS(0) > 1 {
		if all := inHalves(d.data, element, start); all != nil {
			*p, d.pos = all, len(d.data)
			return
		}
	}
	list(d, p, element)
}

// inHalves decodes both halves of a list at the same time. Where the second one
// starts is a guess, which is right if the first one ends there. If it does not, or
// if anything is wrong with the list, the result is nil, and nothing is known.
func inHalves[T any](data []byte, element func(*decoder, *T), start string) []T {
	middle := len(data) / 2
	i := bytes.Index(data[middle:], []byte("},"+start))
	if i < 0 {
		return nil
	}
	comma := middle + i + 1
	left, right := decoder{data: data[:comma]}, decoder{data: data[comma:], depth: 1}
	var head, tail []T
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for right.nextElement() {
			tail = append(tail, *new(T))
			element(&right, &tail[len(tail)-1])
		}
		right.end()
	}()
	for more := left.array(); more; more = left.pos < comma && left.nextElement() {
		head = append(head, *new(T))
		element(&left, &head[len(head)-1])
	}
	<-ended
	if left.err != nil || right.err != nil || left.pos != comma {
		return nil
	}
	return append(head, tail...)
}
