package definition

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// ErrNull is a null where an agent's own code breaks at it: it closes the connection.
var ErrNull = errors.New("null breaks the agent")

// hasFragileNull reports whether a body, which must be JSON, has a null where the agent's
// decoder breaks. It does so before it refuses anything.
func (k *bodyKind) hasFragileNull(data []byte) bool {
	if len(k.fragile) == 0 || !bytes.Contains(data, []byte("null")) {
		return false
	}
	found := false
	isJSON := walk(data, func(string, int64) {}, func(path string) {
		found = found || containsFold(k.fragile, path)
	})
	return found && isJSON
}

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(e string) bool { return strings.EqualFold(e, s) })
}

// walk goes through the first JSON value of a body, and reports whether it is complete.
// The path of a field is the names down to it, with dots in between; that of an element
// of a list is the list's with a dot at the end. With each name of a field comes the
// place where it ends.
func walk(data []byte, name func(path string, end int64), null func(path string)) bool {
	dec := json.NewDecoder(bytes.NewReader(data))
	var value func(path string) bool
	value = func(path string) bool {
		token, err := dec.Token()
		if err != nil {
			return false
		}
		if token == nil {
			null(path)
		}
		delim, isOpen := token.(json.Delim)
		if !isOpen {
			return true
		}
		inside := path
		if path != "" && !strings.HasSuffix(path, ".") {
			inside += "."
		}
		for dec.More() {
			at := inside
			if delim == '{' {
				field, err := dec.Token()
				if err != nil {
					return false
				}
				at += field.(string)
				name(at, dec.InputOffset())
			}
			if !value(at) {
				return false
			}
		}
		_, err = dec.Token()
		return err == nil
	}
	return value("")
}
