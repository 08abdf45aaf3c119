package config

import (
	"fmt"
	"strings"

	"go-micro.dev/v4/config/encoder"

	"github.com/lictor-go/consul/configuration"
)

// tree returns the keys of a snapshot as a tree of their elements. A key below another
// one is a member of its value, and wins over a member that is there.
func (s *consulSource) tree(snapshot *configuration.Snapshot) (map[string]any, error) {
	root := make(map[string]any)
	within, hidden := snapshot.Prefix, "" // parts of the prefix: that are in the tree, and that are not
	if s.settings.stripPrefix {
		within, hidden = "", snapshot.Prefix
	}
	for _, p := range snapshot.Pairs {
		path := strings.Split(within+p.Key, "/")
		at, known := folder(root, path[:len(path)-1])
		if at == nil {
			return nil, fmt.Errorf("gomicro: key %q is below %q, which is not an object", snapshot.Prefix+p.Key, hidden+strings.Join(path[:known+1], "/"))
		}
		if len(p.Value) == 0 {
			continue // there is only the folder
		}
		value, err := decode(s.opts.Encoder, p.Value)
		if err != nil {
			// What is wrong is not told: it may quote the value.
			return nil, fmt.Errorf("gomicro: the value of key %q is not in the format %s", snapshot.Prefix+p.Key, s.opts.Encoder.String())
		}
		at[path[len(path)-1]] = value
	}
	return root, nil
}

// folder returns the object at a path, and makes what is missing on the way. It
// returns nil, and how many elements of the path are objects, if one is none.
func folder(at map[string]any, path []string) (object map[string]any, objects int) {
	for i, name := range path {
		switch next := at[name].(type) {
		case map[string]any:
			at = next
		case nil:
			made := make(map[string]any)
			at[name], at = made, made
		default:
			return nil, i
		}
	}
	return at, len(path)
}

// decode decodes a value: an object, a list or anything else. Not every encoder
// decodes into what has no type.
func decode(e encoder.Encoder, value []byte) (any, error) {
	var object map[string]any
	if e.Decode(value, &object) == nil {
		if object == nil {
			return nil, nil
		}
		return object, nil
	}
	var list []any
	if e.Decode(value, &list) == nil {
		return list, nil
	}
	var other any
	err := e.Decode(value, &other)
	return other, err
}
