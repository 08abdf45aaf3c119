package benchmarks

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/configuration"
)

// KeyChanges are the same operation in several ways: to see the next change of a
// folder of keys.
type KeyChanges struct {
	Watch Op // configuration.Watch, which also tells what has changed
	API   Op // consul/api's blocking query
	Floor Op // a bare net/http request, and one hash of the body

	Close func()
}

// NewKeyChanges returns ways to follow the n keys of a folder of an agent that is the
// handler of [NewChangingKeys]. They have to be closed.
func (r *Rig) NewKeyChanges(n int) *KeyChanges {
	next, stop := iter.Pull2(configuration.Watch(context.Background(), r.ours, "app", &configuration.Options{
		Burst: 1 << 30, MinInterval: time.Nanosecond,
	}))
	watch := func() error {
		s, err, ok := next()
		switch {
		case !ok:
			return errors.New("the sequence has ended")
		case err != nil:
			return err
		case len(s.Added)+len(s.Changed) == 0:
			return errors.New("nothing has changed")
		}
		return check(len(s.Pairs), n, nil)
	}
	q := new(api.QueryOptions)
	return &KeyChanges{
		Watch: watch,
		API: func() error {
			pairs, meta, err := r.api.KV().List("app/", q)
			if err != nil {
				return err
			}
			q.WaitIndex = meta.LastIndex
			return check(len(pairs), n, nil)
		},
		Floor: r.changeFloor("/v1/kv/bare/?recurse="),
		Close: stop,
	}
}

// KeyWake waits for a change of a folder that does not come. Others decode it all the
// same.
func (r *Rig) KeyWake(n int) (Trio, error) {
	q := &consul.QueryOptions{WaitIndex: 7}
	_, meta, err := r.ours.KV().List(context.Background(), "app/", q)
	if err != nil {
		return Trio{}, err
	}
	q.Previous = meta.Result
	return Trio{
		Ours: func() error {
			pairs, meta, err := r.ours.KV().List(context.Background(), "app/", q)
			if err == nil && meta.Result != q.Previous {
				err = errors.New("the answer has changed")
			}
			return check(len(pairs), n, err)
		},
		API: func() error {
			pairs, _, err := r.api.KV().List("app/", &api.QueryOptions{WaitIndex: 7})
			return check(len(pairs), n, err)
		},
		Bare: func() error { return r.request("GET", "/v1/kv/app/?recurse=&index=7", nil) },
	}, nil
}
