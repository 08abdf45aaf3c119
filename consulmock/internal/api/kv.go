package api

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// kv serves GET, PUT and DELETE of /v1/kv/{key}.
func kv(q *request) (any, error) {
	switch {
	case q.r.Method == http.MethodPut:
		return q.putKey()
	case q.r.Method == http.MethodDelete:
		return q.deleteKey()
	case q.query.Has("keys"):
		return q.listKeys()
	case q.query.Has("recurse"):
		return q.listPairs()
	}
	return q.getKey()
}

const missingKeyName = "Missing key name"

// getKey is a read of one key.
func (q *request) getKey() (any, error) {
	st := q.a.Store
	return q.perform(query{
		missing: missingKeyName, noFilter: true, plain: true, bare: true,
		permit: func(authz *acl.Authorizer) error { return authz.Require(q.v, acl.KeyRead, q.name) },
		index:  func() uint64 { return st.KeyIndex(q.name) },
		keys:   func() []string { return []string{state.KeyWatch(q.name), state.ACLKey} },
		absent: func() bool { return st.Key(q.name) == nil },
		result: func(*acl.Authorizer, predicate) (any, bool, error) {
			p := st.Key(q.name)
			switch {
			case p == nil:
				return nothingFound{}, false, nil
			case q.query.Has("raw"):
				return rawValue(p.Value), false, nil
			}
			return []*state.KVPair{p}, false, nil
		},
	})
}

// listPairs is a read of the keys with a prefix.
func (q *request) listPairs() (any, error) {
	return q.readKeys(func(found []*state.KVPair) any {
		if len(found) == 0 {
			return nothingFound{}
		}
		return found
	})
}

// listKeys is a read of the names of the keys with a prefix.
func (q *request) listKeys() (any, error) {
	separator := q.query.Get("seperator")
	if q.query.Has("separator") {
		separator = q.query.Get("separator")
	}
	return q.readKeys(func(found []*state.KVPair) any {
		if len(found) == 0 && q.name != "" {
			return nothingFound{}
		}
		return cutKeys(found, q.name, separator)
	})
}

// cutKeys returns the names of keys, cut after the first separator that follows the
// prefix. What is then equal is there once.
func cutKeys(found []*state.KVPair, prefix, separator string) []string {
	names := make([]string, 0, len(found))
	seen := make(map[string]bool)
	for _, p := range found {
		name := p.Key
		if i := strings.Index(name[len(prefix):], separator); i >= 0 && separator != "" {
			name = name[:len(prefix)+i+len(separator)]
		}
		if !seen[name] {
			names = append(names, name)
		}
		seen[name] = true
	}
	return names
}

// readKeys is a read of the keys with a prefix that the token may read.
func (q *request) readKeys(shape func([]*state.KVPair) any) (any, error) {
	st := q.a.Store
	return q.perform(query{
		noFilter: true, plain: true, bare: true,
		permit: func(authz *acl.Authorizer) error {
			if !q.api.config.ListPolicy {
				return nil
			}
			return authz.Require(q.v, acl.KeyList, q.name)
		},
		index: func() uint64 { return st.PrefixIndex(q.name) },
		keys:  func() []string { return []string{state.PrefixWatch(q.name), state.ACLKey} },
		result: func(authz *acl.Authorizer, _ predicate) (any, bool, error) {
			found, filtered := readable(authz, st.KeysWith(q.name))
			return shape(found), filtered, nil
		},
	})
}

// readable returns the pairs that the token may read, and whether it may not read
// some. It changes the list.
func readable(authz *acl.Authorizer, pairs []*state.KVPair) (list []*state.KVPair, filtered bool) {
	for _, p := range pairs {
		if authz.Allows(acl.KeyRead, p.Key) {
			list = append(list, p)
		}
	}
	return list, len(list) < len(pairs)
}

// conflictingFlags returns the refusal of parameters of which more than one is given.
func (q *request) conflictingFlags(names ...string) error {
	given := 0
	for _, name := range names {
		if q.query.Has(name) {
			given++
		}
	}
	if given < 2 {
		return nil
	}
	text := "Conflicting flags: " + q.query.Encode()
	if q.v == release.V1_21_4 {
		text += "\n"
	}
	return refusal.New(http.StatusBadRequest, text)
}

// number reads a parameter that may be left out.
func number(query url.Values, name string) (uint64, error) {
	if !query.Has(name) {
		return 0, nil
	}
	return strconv.ParseUint(query.Get(name), 10, 64)
}
