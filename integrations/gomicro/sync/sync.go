// Package sync is a sync.Sync for go-micro, locks and elections, over the sessions and
// keys of Consul. It uses the same keys as go-micro's own plugin, so both exclude each
// other. Here consulsync is this package:
//
//	s := consulsync.NewSync()
//	err := s.Lock("migration")
//	...
//	err = s.Unlock("migration")
//
// A lock of this kind is a lease: a process that is stopped for longer than its TTL, or
// cut off from Consul, loses it, and go-micro's interface does not tell a holder. [Lease]
// returns what does: a context that ends with the lease, and a token that a resource can
// check. A program that ends without [Close] keeps others waiting for two TTLs and the
// lock-delay, 45 seconds by default.
package sync

import (
	"context"
	"errors"
	"fmt"
	"strings"
	gosync "sync"
	"time"
	"unicode"

	"go-micro.dev/v4/sync"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/coordination"
	"github.com/lictor-go/consul/integrations/gomicro/internal/agent"
)

// releaseTimeout bounds Unlock and Resign, to which go-micro gives no context.
const releaseTimeout = 5 * time.Second

// consulSync is a [sync.Sync].
type consulSync struct {
	mu       gosync.Mutex
	opts     sync.Options
	settings settings
	source   *agent.Source // of client
	client   *consul.Client
	err      error // of the options

	held     map[string][]*coordination.Lease // by id, in the order in which they were acquired
	unlocked map[string]*coordination.Lease   // by id, of an Unlock that has failed
	leaders  map[*leader]bool
}

// NewSync returns locks and elections. It sends nothing. What is wrong with the options
// is the error of all calls.
func NewSync(opts ...sync.Option) sync.Sync {
	s := &consulSync{
		held: make(map[string][]*coordination.Lease), unlocked: make(map[string]*coordination.Lease),
		leaders: make(map[*leader]bool),
	}
	s.err = s.Init(opts...)
	return s
}

// String returns "consul".
func (s *consulSync) String() string { return "consul" }

// Options returns the options.
func (s *consulSync) Options() sync.Options {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opts
}

// Init changes options. What is held already stays with the agent where it is.
func (s *consulSync) Init(opts ...sync.Option) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	apply(&s.opts, opts)
	s.settings = settingsOf(&s.opts)
	s.err = s.connect()
	return s.err
}

// connect makes a client if the options have another one than before.
func (s *consulSync) connect() error {
	source, err := agent.NewSource(agent.Options{
		Client: s.settings.client, NoClient: s.settings.noClient, Config: s.settings.config,
		Addrs: s.opts.Nodes, TLS: s.opts.TLSConfig,
	})
	if err != nil || s.source != nil && source.Equal(s.source) {
		return err
	}
	client, err := source.NewClient()
	if err != nil {
		return err
	}
	s.source, s.client = source, client
	return nil
}

// setting is what one call needs.
type setting struct {
	settings
	ctx    context.Context
	client *consul.Client
	key    string
}

// begin returns what a call for an id needs.
func (s *consulSync) begin(id string) (setting, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return setting{}, s.err
	}
	call := setting{s.settings, s.opts.Context, s.client, strings.ReplaceAll(s.opts.Prefix+id, "/", "-")}
	switch {
	case call.key == "", call.key == ".", call.key == "..", strings.ContainsFunc(call.key, func(r rune) bool { return !unicode.IsPrint(r) }):
		return setting{}, fmt.Errorf("gomicro: prefix and id are %q; want a name of printable characters, and not . or ..", s.opts.Prefix+id)
	}
	if call.ctx == nil {
		call.ctx = context.Background()
	}
	return call, nil
}

// Lock acquires the lock of an id, and waits for it as long as somebody else holds it,
// in this process too: for LockWait, after which the error is sync.ErrLockTimeout, or
// until the context of sync.WithContext ends. Slashes in the id count as dashes. LockTTL
// is that of the session; agents accept 10 seconds and more. With more than 75 seconds
// others can have the lock up to that much sooner than a holder that is cut off notices,
// because Consul has no lock-delay that is as long.
func (s *consulSync) Lock(id string, opts ...sync.LockOption) error {
	var o sync.LockOptions
	for _, opt := range opts {
		opt(&o)
	}
	call, err := s.begin(id)
	if err != nil {
		return err
	}
	ctx := call.ctx
	if o.Wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Wait)
		defer cancel()
	}
	mutex := coordination.NewMutex(call.client, call.key, &coordination.MutexOptions{
		SessionOptions: call.session(o.TTL), Logger: call.logger, OnEvent: call.onEvent,
	})
	lease, err := mutex.Lock(ctx)
	switch {
	case err == nil:
	case ctx.Err() != nil && call.ctx.Err() == nil:
		return sync.ErrLockTimeout
	default:
		return fmt.Errorf("gomicro: locking %q: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[id] = append(s.held[id], lease)
	delete(s.unlocked, id) // it is released, otherwise there would be no other one
	return nil
}

// errNotHeld is the error of an Unlock without a Lock.
var errNotHeld = errors.New("it is not held")

// Unlock releases the lock of an id. If it was lost before, it is released all the
// same, and the error is coordination.ErrLost. If Consul does not respond within 5
// seconds, the lock is not held any more, and another call tries again; without one,
// others wait until its session has ended.
func (s *consulSync) Unlock(id string) error {
	lease := s.take(id)
	if lease == nil {
		return fmt.Errorf("gomicro: unlocking %q: %w", id, errNotHeld)
	}
	err := release(lease)
	if err == nil {
		return nil
	}
	if !errors.Is(err, coordination.ErrLost) {
		s.mu.Lock()
		s.unlocked[id] = lease
		s.mu.Unlock()
	}
	return fmt.Errorf("gomicro: unlocking %q: %w", id, err)
}

// take removes and returns the lease to be released next, nil if there is none.
func (s *consulSync) take(id string) *coordination.Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	leases := s.held[id]
	if len(leases) == 0 {
		lease := s.unlocked[id]
		delete(s.unlocked, id)
		return lease
	}
	// The first one is that of the caller who has had it for longest. There are others
	// if it was lost.
	if s.held[id] = leases[1:]; len(leases) == 1 {
		delete(s.held, id)
	}
	return leases[0]
}

// release releases a lease. If it was lost, that is the error.
func release(lease *coordination.Lease) error {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	cause := context.Cause(lease.Context())
	err := lease.Release(ctx)
	if errors.Is(cause, coordination.ErrLost) {
		return cause
	}
	return err
}

// Lease returns the lease of a lock that is held through s: its context ends when the
// lock is lost, and its token is greater for each later one.
func Lease(s sync.Sync, id string) (*coordination.Lease, bool) {
	c, ok := s.(*consulSync)
	if !ok {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	leases := c.held[id]
	if len(leases) == 0 {
		return nil, false
	}
	return leases[len(leases)-1], true
}

// Leader waits until this process is elected for an id, or until the context of
// sync.WithContext ends. The key, and what excludes others, are those of Lock.
func (s *consulSync) Leader(id string, _ ...sync.LeaderOption) (sync.Leader, error) {
	call, err := s.begin(id)
	if err != nil {
		return nil, err
	}
	election := coordination.NewElection(call.client, call.key, &coordination.ElectionOptions{
		SessionOptions: call.session(0), Value: []byte(id), Logger: call.logger, OnEvent: call.onEvent,
	})
	lease, err := election.Campaign(call.ctx)
	if err != nil {
		return nil, fmt.Errorf("gomicro: campaigning for %q: %w", id, err)
	}
	l := &leader{s: s, id: id, lease: lease, status: make(chan bool, 1)}
	s.mu.Lock()
	s.leaders[l] = true
	s.mu.Unlock()
	go l.report()
	return l, nil
}

// leader is a [sync.Leader].
type leader struct {
	s      *consulSync
	id     string
	lease  *coordination.Lease
	status chan bool
}

// report sends to the status when the lead is lost, and closes it when it ends.
func (l *leader) report() {
	<-l.lease.Context().Done()
	if errors.Is(context.Cause(l.lease.Context()), coordination.ErrLost) {
		l.status <- true
	}
	close(l.status)
}

// Status returns a channel, the same each time, on which true is sent once if the lead
// is lost. It is closed then, and by Resign.
func (l *leader) Status() chan bool { return l.status }

// Resign gives the lead up, so that others have it at once. It may be called again, and
// after a loss. If Consul does not respond within 5 seconds, this process leads no more
// all the same, and another call, or Close, tries again.
func (l *leader) Resign() error {
	if err := release(l.lease); err != nil && !errors.Is(err, coordination.ErrLost) {
		return fmt.Errorf("gomicro: resigning %q: %w", l.id, err)
	}
	l.s.mu.Lock()
	delete(l.s.leaders, l)
	l.s.mu.Unlock()
	return nil
}

// Close releases all locks and leads that are held through s, which others can then
// have at once. s can be used again. What is no Sync of this package is an error.
func Close(s sync.Sync) error {
	c, ok := s.(*consulSync)
	if !ok {
		return fmt.Errorf("gomicro: %T is no Sync of this package", s)
	}
	c.mu.Lock()
	var errs []error
	var ids []string
	for id, leases := range c.held {
		for range leases {
			ids = append(ids, id)
		}
	}
	for id := range c.unlocked {
		ids = append(ids, id)
	}
	var leaders []*leader
	for l := range c.leaders {
		leaders = append(leaders, l)
	}
	c.mu.Unlock()
	for _, id := range ids {
		if err := c.Unlock(id); err != nil && !errors.Is(err, coordination.ErrLost) && !errors.Is(err, errNotHeld) {
			errs = append(errs, err)
		}
	}
	for _, l := range leaders {
		errs = append(errs, l.Resign())
	}
	return errors.Join(errs...)
}
