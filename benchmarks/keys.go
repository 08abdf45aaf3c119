package benchmarks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/configuration"
)

// Keys returns what an agent answers on /v1/kv/app/ with recurse when there are n
// keys, of 96 bytes each: settings of services, say.
func Keys(n int) []byte {
	pairs := make([]json.RawMessage, n)
	for i := range pairs {
		pairs[i] = fmt.Appendf(nil, pair, i/20, i%20, 20+3*i)
	}
	data, err := json.Marshal(pairs)
	if err != nil {
		panic(err)
	}
	return data
}

// pair is one key as recorded. %[1]d and %[2]d are parts of its name, %[3]d is its
// index. keyDigits is in its value.
const (
	pair = `{"LockIndex":0,"Key":"app/service-%05[1]d/setting-%02[2]d","Flags":0,` +
		`"Value":"` + keyValue + keyDigits + `","CreateIndex":%[3]d,"ModifyIndex":%[3]d}`
	keyValue  = "c29tZSBzZXR0aW5nIHRoYXQgYSBwcm9ncmFtIHJlYWRzIHdoZW4gaXQgc3RhcnRzLCBhbmQgd2hlbmV2ZXIgc29tZWJvZHkgY2hhbmdlcyBpdDogYWJjZGVm"
	keyDigits = "8080"
)

// NewChangingKeys returns a handler of so many keys under each prefix, of which so
// many get another value each time.
func NewChangingKeys(keys, each int) *Changing {
	return &Changing{
		each: each, lists: make(map[string]*changing),
		make: func() *changing { return newChanging(Keys(keys), keyValue, keyDigits) },
	}
}

// KVList reads the n keys under a prefix.
func (r *Rig) KVList(n int) Trio {
	return Trio{
		Ours: func() error {
			pairs, _, err := r.ours.KV().List(context.Background(), "app/", nil)
			return check(len(pairs), n, err)
		},
		API: func() error {
			pairs, _, err := r.api.KV().List("app/", nil)
			return check(len(pairs), n, err)
		},
		Bare: func() error { return r.request(http.MethodGet, "/v1/kv/app/?recurse", nil) },
	}
}

// NewKeyChanges returns ways to follow the n keys under a prefix, at an agent that
// is made by [NewChangingKeys]. There is no Resolver of keys. They have to be
// closed.
func (r *Rig) NewKeyChanges(n int) *Changes {
	c := &Changes{Loop: r.keyLoop(n), API: r.keyLoopAPI(n), Floor: r.changeFloor("/v1/kv/bare/?recurse")}
	snapshots := configuration.Watch(context.Background(), r.ours, "app", &configuration.Options{
		Burst: 1 << 30, MinInterval: time.Nanosecond,
	})
	c.Watch = follow(c, n, func(yield func([]*consul.KVPair, error) bool) {
		for s, err := range snapshots {
			var pairs []*consul.KVPair
			if err == nil {
				pairs = s.Pairs
			}
			if !yield(pairs, err) {
				return
			}
		}
	})
	return c
}

func (r *Rig) keyLoop(n int) Op {
	q := &consul.QueryOptions{Previous: new(consul.Result)}
	return func() error {
		pairs, meta, err := r.ours.KV().List(context.Background(), "looped/", q)
		if err != nil {
			return err
		}
		if meta.Result == q.Previous {
			return errors.New("nothing has changed")
		}
		q.WaitIndex, q.Previous = meta.LastIndex, meta.Result
		return check(len(pairs), n, nil)
	}
}

func (r *Rig) keyLoopAPI(n int) Op {
	q := new(api.QueryOptions)
	return func() error {
		pairs, meta, err := r.api.KV().List("theirs/", q)
		if err != nil {
			return err
		}
		q.WaitIndex = meta.LastIndex
		return check(len(pairs), n, nil)
	}
}
