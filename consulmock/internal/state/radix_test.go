package state

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// tree is a radix tree as servers have it, written out. Whoever watches a node learns
// when it is replaced or removed.
type tree struct {
	path     string
	isLeaf   bool
	children []*tree
	replaced bool
}

func (n *tree) child(key string) *tree {
	for _, c := range n.children {
		if len(key) > len(n.path) && c.path[len(n.path)] == key[len(n.path)] {
			return c
		}
	}
	return nil
}

// put inserts a key and returns the node that stands for n afterwards.
func (n *tree) put(key string) *tree {
	n.replaced = true
	next := &tree{path: n.path, isLeaf: n.isLeaf || n.path == key, children: slices.Clone(n.children)}
	if n.path == key {
		return next
	}
	c := n.child(key)
	if c == nil {
		next.children = append(next.children, &tree{path: key, isLeaf: true})
		return next
	}
	i := slices.Index(next.children, c)
	if strings.HasPrefix(key, c.path) {
		next.children[i] = c.put(key)
		return next
	}
	c.replaced = true // it is cut in two
	lower := &tree{path: c.path, isLeaf: c.isLeaf, children: c.children}
	upper := &tree{path: key[:commonPrefix(key, c.path)], children: []*tree{lower}}
	if upper.path == key {
		upper.isLeaf = true
	} else {
		upper.children = append(upper.children, &tree{path: key, isLeaf: true})
	}
	next.children[i] = upper
	return next
}

// remove removes a key, which is there, and returns the node that stands for n
// afterwards, or nil.
func (n *tree) remove(key string, isRoot bool) *tree {
	n.replaced = true
	next := &tree{path: n.path, isLeaf: n.isLeaf && n.path != key, children: slices.Clone(n.children)}
	if n.path != key {
		c := n.child(key)
		i := slices.Index(next.children, c)
		if left := c.remove(key, false); left != nil {
			next.children[i] = left
		} else {
			next.children = slices.Delete(next.children, i, i+1)
		}
	}
	switch {
	case isRoot || next.isLeaf || len(next.children) > 1:
		return next
	case len(next.children) == 1: // they are joined
		only := next.children[0]
		only.replaced = true
		return &tree{path: only.path, isLeaf: only.isLeaf, children: only.children}
	}
	return nil
}

// watched returns the node that is watched by who looks for a prefix.
func (n *tree) watched(prefix string) *tree {
	for {
		c := n.child(prefix)
		if c == nil {
			return n
		}
		n = c
		if !strings.HasPrefix(prefix, n.path) {
			return n
		}
	}
}

// Who is woken by a change is who would be by a tree.
func TestRecordIndex(t *testing.T) {
	words := []string{"", "a", "ab", "abc", "abd", "b", "ba", "bab", "c", "cab", "abcab"}
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		root, index := &tree{}, &recordIndex{}
		var prefixes []string
		for _, w := range words {
			if w != "" {
				w += "."
			}
			prefixes = append(prefixes, w)
		}
		var story []string
		for range 60 {
			key := words[1+random.IntN(len(words)-1)] + "." + words[random.IntN(3)] + "."
			what := recordPut
			if _, found := slices.BinarySearch(index.keys, key); found && random.IntN(2) == 0 {
				what = recordDeleted
			}
			story = append(story, fmt.Sprintf("%s %d", key, what))
			nodes := map[string]*tree{}
			for _, p := range prefixes {
				nodes[p] = root.watched(p)
			}
			if what == recordPut {
				root = root.put(key)
			} else {
				root = root.remove(key, true)
			}
			var want, got []string
			for _, p := range prefixes {
				if nodes[p].replaced {
					want = append(want, p)
				}
			}
			index.change(key, what, prefixes, func(p string) { got = append(got, p) })
			if !slices.Equal(got, want) {
				t.Fatalf("%q: woken %q, want %q", story, got, want)
			}
		}
	}
}
