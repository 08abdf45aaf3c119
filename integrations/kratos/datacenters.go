package kratos

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

// recountInterval is the time after which the list of datacenters is requested
// again. There are no blocking queries for it.
const recountInterval = time.Minute

// datacenters keeps the list of datacenters in memory while somebody watches it,
// and for idleTimeout after that. All share its requests.
type datacenters struct {
	client *consul.Client
	opts   discovery.WatchOptions
	ctx    context.Context // ends all requests

	mu      sync.Mutex
	users   int
	running sync.WaitGroup
	cancel  context.CancelFunc // ends the requests; nil if there are none
	failing bool               // the last request failed
	idle    *time.Timer        // calls forget; nil before the first release
	latest  *datacenterList
}

// datacenterList does not change. Without a list or an error there was no response
// yet.
type datacenterList struct {
	names      []string
	err        error
	superseded chan struct{} // closed when there is a newer one
}

func newDatacenters(ctx context.Context, c *consul.Client, o *Options) *datacenters {
	return &datacenters{
		client: c, ctx: ctx,
		opts:   discovery.WatchOptions{Name: "datacenters", MaxBackoff: maxBackoff, Logger: o.Logger, OnEvent: o.OnEvent},
		latest: &datacenterList{superseded: make(chan struct{})},
	}
}

// watch yields the list of datacenters, and again when it was requested again, until
// ctx ends. Of errors before the first list, the first one is yielded, and others are
// not.
func (d *datacenters) watch(ctx context.Context) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		latest := d.use()
		defer d.release()
		for {
			if latest.names != nil || latest.err != nil {
				if !yield(latest.names, latest.err) {
					return
				}
			}
			select {
			case <-latest.superseded:
			case <-ctx.Done():
				return
			}
			d.mu.Lock()
			latest = d.latest
			d.mu.Unlock()
		}
	}
}

// use makes sure that there are requests until release.
func (d *datacenters) use() *datacenterList {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.users++
	if d.cancel == nil && d.ctx.Err() == nil {
		var ctx context.Context
		ctx, d.cancel = context.WithCancel(d.ctx)
		d.running.Add(1)
		go d.run(ctx)
	}
	return d.latest
}

func (d *datacenters) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch d.users--; {
	case d.users > 0 || d.ctx.Err() != nil:
	case d.idle == nil:
		d.idle = time.AfterFunc(idleTimeout, d.forget)
	default:
		d.idle.Reset(idleTimeout)
	}
}

// forget ends the requests and drops the list if nobody needs it, but not while the
// agent is down and could not replace it.
func (d *datacenters) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.users > 0 || d.cancel == nil || d.ctx.Err() != nil:
	case d.failing:
		d.idle.Reset(idleTimeout)
	default:
		d.cancel()
		d.cancel = nil
		d.latest = &datacenterList{superseded: make(chan struct{})}
	}
}

// run requests the list every recountInterval, and after errors as every watch does.
func (d *datacenters) run(ctx context.Context) {
	defer d.running.Done()
	type response struct {
		Names  []string
		Number int // makes each response differ from the last one, so that it is yielded
	}
	number := 0
	query := func(ctx context.Context, q *consul.QueryOptions) (response, *consul.QueryMeta, error) {
		number++
		names, meta, err := d.client.Catalog().Datacenters(ctx, q)
		if err == nil && len(names) == 0 {
			err = errors.New("the agent lists no datacenters")
		}
		return response{names, number}, meta, err
	}
	for resp, err := range discovery.Watch(ctx, query, &d.opts) {
		d.publish(ctx, resp.Names, err)
		if err == nil {
			select {
			case <-time.After(recountInterval):
			case <-ctx.Done():
				return
			}
		}
	}
}

// publish takes a response of the requests with ctx.
func (d *datacenters) publish(ctx context.Context, names []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() != nil {
		return // forgotten
	}
	d.failing = err != nil
	if err != nil && (d.latest.names != nil || d.latest.err != nil) {
		return // the last list stays, or the first error
	}
	old := d.latest
	d.latest = &datacenterList{names, err, make(chan struct{})}
	close(old.superseded)
}

// close waits until the requests have ended, after d.ctx has.
func (d *datacenters) close() {
	d.mu.Lock()
	if d.idle != nil {
		d.idle.Stop()
	}
	d.mu.Unlock()
	d.running.Wait()
}
