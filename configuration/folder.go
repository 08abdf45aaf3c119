package configuration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lictor-go/consul"
)

// folderName returns a prefix with the slash that ends the name of a folder. An empty
// prefix stays what it is: all keys.
func folderName(prefix string) (string, error) {
	if prefix == "" {
		return "", nil
	}
	name := strings.TrimSuffix(prefix, "/")
	if problem := problemOf(name); problem != "" {
		return "", fmt.Errorf("configuration: prefix %q is not the name of a folder: %s; want one such as app/web", prefix, problem)
	}
	return name + "/", nil
}

// problemOf returns why a key or folder cannot be part of a path, empty if it can.
func problemOf(name string) string {
	if !utf8.ValidString(name) { // in JSON it would read otherwise
		return "it is not valid UTF-8"
	}
	if strings.HasPrefix(name, "/") {
		return "it starts with a slash"
	}
	for _, element := range strings.Split(name, "/") {
		switch element {
		case "":
			return "it has an empty element"
		case ".", "..":
			return "it has an element . or .."
		}
	}
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "it has a character that is not printable"
	}
	return ""
}

// reader reads a folder again and again, and compares.
type reader struct {
	client *consul.Client
	folder string

	last *Snapshot // that it compares with; nil before the first

	// The pairs of the last response whose keys are in the snapshot, in its order:
	// they tell which ones are new without a look at their content.
	origins []*consul.KVPair
}

// read reads the folder once. It is the query of a loop.
func (r *reader) read(ctx context.Context, q *consul.QueryOptions) (*Snapshot, *consul.QueryMeta, error) {
	list, meta, err := r.client.KV().List(ctx, r.folder, q)
	if err == nil && len(list) == 0 && q.AllowStale {
		// A server that has just lost its leader may have lost the keys, too.
		q := withoutWait(q)
		q.AllowStale = false
		list, meta, err = r.client.KV().List(ctx, r.folder, q)
	}
	if err != nil {
		return nil, nil, err
	}
	if r.last != nil && meta.Result != nil && meta.Result == q.Previous {
		return r.last, meta, nil
	}
	next, origins := r.snapshot(list, meta.LastIndex)
	if err := r.checkMissing(ctx, next, meta, q); err != nil {
		return nil, nil, err
	}
	r.last, r.origins = next, origins
	return next, meta, nil
}

// snapshot makes a snapshot of a response. The pairs of the last one are used again
// if nothing in them has changed.
func (r *reader) snapshot(list []*consul.KVPair, index uint64) (*Snapshot, []*consul.KVPair) {
	origins := slices.DeleteFunc(list, func(p *consul.KVPair) bool {
		return p == nil || !strings.HasPrefix(p.Key, r.folder) || p.Key == "" || strings.HasSuffix(p.Key, "/")
	})
	if !slices.IsSortedFunc(origins, compareKeys) { // not by an agent, unless keys are not valid UTF-8
		slices.SortStableFunc(origins, compareKeys)
	}
	// Different keys that are not valid UTF-8 can read the same in JSON.
	origins = slices.CompactFunc(origins, func(a, b *consul.KVPair) bool { return a.Key == b.Key })
	next := &Snapshot{Prefix: r.folder, Index: index, Pairs: make([]*consul.KVPair, 0, len(origins))}
	var old []*consul.KVPair
	if r.last != nil {
		old = r.last.Pairs
	}
	at := 0 // the place in old of the first key that is not before the current one
	for _, origin := range origins {
		key := origin.Key[len(r.folder):]
		for at < len(old) && old[at].Key < key {
			at++
		}
		if at < len(old) && old[at].Key == key && r.isOld(at, origin) {
			next.Pairs = append(next.Pairs, old[at])
			continue
		}
		p := *origin
		p.Key, p.Value = key, slices.Clip(p.Value)
		next.Pairs = append(next.Pairs, &p)
	}
	return next.since(r.last), origins
}

// isOld reports whether a pair of a response is the one at the place of the last
// snapshot.
func (r *reader) isOld(at int, p *consul.KVPair) bool {
	if at < len(r.origins) && r.origins[at] == p {
		return true
	}
	// Another one, but with what may be the same in it: the snapshot is one that the
	// caller had, or the response came to a request without the last result.
	old := r.last.Pairs[at]
	return sameContent(old, p) && old.ModifyIndex == p.ModifyIndex && old.CreateIndex == p.CreateIndex &&
		old.LockIndex == p.LockIndex && old.Session == p.Session
}

// maxProbes is how many requests one response may cause.
const maxProbes = 10

// checkMissing returns an error if keys are missing in a snapshot because the token
// may not read them. A list just leaves them out, and old agents do not report it,
// and no agent does if there is no token at all. But the read of a single key is
// refused, whether the key exists or not.
func (r *reader) checkMissing(ctx context.Context, s *Snapshot, meta *consul.QueryMeta, q *consul.QueryOptions) error {
	var probes []string
	if len(s.Pairs) == 0 {
		switch {
		case meta.LastIndex == 0:
			return fmt.Errorf("configuration: no keys in %s, and no X-Consul-Index, so it is not the response of an agent", r)
		case meta.ResultsFilteredByACLs && (r.folder == "" || r.last == nil):
			return fmt.Errorf("configuration: the token may not read what is in %s: %w", r, consul.ErrPermissionDenied)
		case r.folder != "":
			probes = append(probes, r.folder)
		}
	}
	folders := make(map[string]bool)
	for _, key := range s.Removed {
		// What a token may read is laid down for folders, as a rule.
		dir := path.Dir(key)
		isWanted := !folders[dir] || meta.ResultsFilteredByACLs
		if isWanted && len(probes) < maxProbes && problemOf(key) == "" {
			folders[dir] = true
			probes = append(probes, r.folder+key)
		}
	}
	if len(probes) == 0 {
		return nil
	}
	what := "has lost keys"
	if len(s.Pairs) == 0 {
		what = "has no keys"
	}
	q = withoutWait(q)
	q.AllowStale = false // another server may be behind, and still have what was deleted
	for _, key := range probes {
		p, _, err := r.client.KV().Get(ctx, key, q)
		var status *consul.StatusError
		switch {
		case errors.As(err, &status) && status.Code == http.StatusBadRequest:
			// What is printable to an agent is a matter of its age.
		case err != nil:
			return fmt.Errorf("configuration: %s %s, or the token may not read them: %w", r, what, err)
		case p != nil && key != r.folder && p.CreateIndex <= meta.LastIndex:
			// It was there all the time: the token has its permission back.
			return fmt.Errorf("configuration: key %q, which exists, was missing in %s: %w", key, r, consul.ErrPermissionDenied)
		}
	}
	return nil
}

// String returns how the folder reads in errors.
func (r *reader) String() string {
	if r.folder == "" {
		return "the store"
	}
	return fmt.Sprintf("folder %q", r.folder)
}

// withoutWait returns the options for a request that the agent responds to at once.
func withoutWait(q *consul.QueryOptions) *consul.QueryOptions {
	c := *q
	c.WaitIndex, c.WaitHash, c.WaitTime, c.Previous = 0, "", 0, nil
	return &c
}
