// Package filter compiles the filter expressions of Consul's API. Most of it, the
// grammar above all, exists for the messages about malformed expressions, which
// name what could have stood at the place of the error, as agents do.
package filter

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/lictor-go/consul/consulmock/internal/release"
)

// ErrBreaksAgent is what a filter gives that ends the request's goroutine
// in a real agent: it selects something below what a value does not have, such
// as Proxy.Mode of an ordinary service of the local agent. The connection is
// then closed without a response.
var ErrBreaksAgent = errors.New("the filter makes an agent close the connection without a response")

// ErrorPrefix begins the errors of expressions, except for those of the
// streaming backend.
const ErrorPrefix = "Failed to create boolean expression evaluator: "

// Compile returns the filter that an expression describes, which is for
// values of one kind. The values are of the client's types, pointers to them, or
// anything else whose JSON has the same names. An empty expression is for the
// caller to take as none.
//
// Errors, also of the filter, are in the words of agents.
func Compile(expression string, of Target, v release.Version) (func(v any) (bool, error), error) {
	fail := func(err error) (func(any) (bool, error), error) {
		return nil, fmt.Errorf(ErrorPrefix+"%w", err)
	}
	root, err := parse(expression)
	if err != nil {
		return fail(err)
	}
	filter, err := root.compile(of.shape(), v != release.V1_8_7)
	if err != nil && of == AgentCheck {
		// Here agents look at the selectors only when there is a check to filter,
		// and report less of it.
		return func(any) (bool, error) { return false, err }, nil
	}
	if err != nil {
		return fail(err)
	}
	return func(value any) (bool, error) { return filter(reflect.ValueOf(value)) }, nil
}

// predicate is a part of a compiled filter.
type predicate func(v reflect.Value) (bool, error)

func (n *node) compile(shape reflect.Type, modern bool) (predicate, error) {
	if n.match != nil {
		return n.match.compile(shape, modern)
	}
	left, err := n.left.compile(shape, modern)
	if err != nil {
		return nil, err
	}
	if n.op == "not" {
		return func(v reflect.Value) (bool, error) {
			ok, err := left(v)
			return !ok, err
		}, nil
	}
	right, err := n.right.compile(shape, modern)
	if err != nil {
		return nil, err
	}
	decides := n.op == "or" // the result of the left side that makes the right side needless
	return func(v reflect.Value) (bool, error) {
		if ok, err := left(v); err != nil || ok == decides {
			return ok, err
		}
		return right(v)
	}, nil
}

func (m *match) compile(shape reflect.Type, modern bool) (predicate, error) {
	path, bad := resolveSelector(shape, m.selector, modern)
	if bad > 0 {
		return nil, fmt.Errorf("Selector %q is not valid", selectorText(m.selector[:bad]))
	}
	last := path[len(path)-1]
	if !supports(last, m.op) {
		return nil, fmt.Errorf("Invalid match operator %q for selector %q", string(m.op), selectorText(m.selector))
	}
	test, err := m.test(last)
	if err != nil {
		return nil, err
	}
	return func(v reflect.Value) (bool, error) { return m.eval(v, shape, path, test) }, nil
}

// test returns the comparison, without regard to whether it is negated.
func (m *match) test(t reflect.Type) (func(reflect.Value) bool, error) {
	if m.op == opIsEmpty || m.op == opIsNotEmpty {
		return func(v reflect.Value) bool { return length(v) == 0 }, nil
	}
	scalar := t
	for scalar.Kind() == reflect.Pointer || scalar.Kind() == reflect.Slice {
		scalar = scalar.Elem()
	}
	want, err := coerce(m.raw, scalar.Kind())
	if err != nil {
		return nil, fmt.Errorf("Failed to coerce value %q for selector %q: %w", m.raw, selectorText(m.selector), err)
	}
	switch {
	case m.op == opMatches || m.op == opNotMatches:
		re, err := regexp.Compile(m.raw)
		if err != nil {
			return nil, fmt.Errorf("Failed to compile regular expression %q: %w", m.raw, err)
		}
		return func(v reflect.Value) bool { return re.MatchString(scalarText(v)) }, nil
	case t.Kind() == reflect.Map:
		return func(v reflect.Value) bool { return child(v, m.raw).IsValid() }, nil
	case t.Kind() == reflect.Slice:
		return func(v reflect.Value) bool {
			v = indirect(v)
			if v.Kind() == reflect.String { // an IP address, which is bytes to agents
				v = reflect.ValueOf([]byte(net.ParseIP(v.String())))
			}
			for i := range length(v) {
				if equalScalar(v.Index(i), want) {
					return true
				}
			}
			return false
		}, nil
	case m.op == opIn || m.op == opNotIn:
		return func(v reflect.Value) bool { return strings.Contains(scalarText(v), m.raw) }, nil
	}
	return func(v reflect.Value) bool { return equalScalar(v, want) }, nil
}

// coerce turns the text of a value into what fields of the kind are compared
// with: a string, a bool, an int64 or a uint64.
func coerce(raw string, kind reflect.Kind) (any, error) {
	switch kind {
	case reflect.Bool:
		return strconv.ParseBool(raw)
	case reflect.Int:
		return strconv.ParseInt(raw, 0, 64)
	case reflect.Uint8:
		return strconv.ParseUint(raw, 0, 8)
	case reflect.Uint16:
		return strconv.ParseUint(raw, 0, 16)
	}
	return raw, nil
}

// eval follows the selector from v, which is of the kind shape, and tests what
// it arrives at. An element of a list that passes is enough.
func (m *match) eval(v reflect.Value, shape reflect.Type, path []reflect.Type, test func(reflect.Value) bool) (bool, error) {
	depth := len(m.selector) - len(path)
	v = indirect(v)
	if depth == len(m.selector) {
		switch m.op {
		case opNotEqual, opNotIn, opIsNotEmpty, opNotMatches:
			return !test(v), nil
		}
		return test(v), nil
	}
	switch shape.Kind() {
	case reflect.Pointer:
		if !v.IsValid() {
			return false, ErrBreaksAgent
		}
		return m.eval(v, shape.Elem(), path, test)
	case reflect.Slice:
		for i := range length(v) {
			if ok, err := m.eval(v.Index(i), shape.Elem(), path, test); ok || err != nil {
				return ok, err
			}
		}
		return false, nil
	}
	child := child(v, m.selector[depth])
	if shape.Kind() == reflect.Map && !child.IsValid() {
		// What does not exist equals nothing. That it matches every regular
		// expression is how agents have it.
		return m.op != opEqual && m.op != opIsNotEmpty && m.op != opIn, nil
	}
	return m.eval(child, path[0], path[1:], test)
}

// indirect returns what v points to or holds. It decodes raw JSON. What
// does not exist is the zero Value.
func indirect(v reflect.Value) reflect.Value {
	for v.IsValid() && v.CanInterface() {
		if raw, ok := v.Interface().(json.RawMessage); ok {
			var decoded any
			_ = json.Unmarshal(raw, &decoded) // what is not JSON selects nothing
			v = reflect.ValueOf(decoded)
			continue
		}
		if v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface {
			break
		}
		v = v.Elem()
	}
	return v
}

// child returns a field of a struct or an element of a map.
func child(v reflect.Value, name string) reflect.Value {
	v = indirect(v)
	switch v.Kind() {
	case reflect.Struct:
		return v.FieldByName(name)
	case reflect.Map:
		return v.MapIndex(reflect.ValueOf(name).Convert(v.Type().Key()))
	}
	return reflect.Value{}
}

func length(v reflect.Value) int {
	v = indirect(v)
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.Array, reflect.String:
		return v.Len()
	}
	return 0
}

// scalarText returns the text of a string or a duration.
func scalarText(v reflect.Value) string {
	v = indirect(v)
	if !v.IsValid() || !v.CanInterface() {
		return ""
	}
	if d, ok := v.Interface().(time.Duration); ok {
		if d == 0 {
			return ""
		}
		return d.String()
	}
	if v.Kind() == reflect.String {
		return v.String()
	}
	return ""
}

// equalScalar compares v with what coerce returned. A number may be any that
// JSON decodes to; what does not exist is zero.
func equalScalar(v reflect.Value, want any) bool {
	v = indirect(v)
	switch want := want.(type) {
	case bool:
		return want == (v.Kind() == reflect.Bool && v.Bool())
	case int64, uint64:
		return fmt.Sprint(want) == numberText(v)
	}
	return scalarText(v) == want
}

func numberText(v reflect.Value) string {
	switch {
	case v.IsValid() && v.CanInt():
		return strconv.FormatInt(v.Int(), 10)
	case v.IsValid() && v.CanUint():
		return strconv.FormatUint(v.Uint(), 10)
	case v.IsValid() && v.CanFloat():
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	}
	return "0"
}
