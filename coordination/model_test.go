//go:build go1.25

package coordination_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/coordination"
)

var (
	modelHours = flag.Float64("model.hours", 0, "how many hours of virtual time TestModel takes; 0 means a few minutes for each of a few seeds")
	modelSeed  = flag.Uint64("model.seed", 1, "the first seed of TestModel")
	modelTTL   = flag.Duration("model.ttl", 0, "TTL of the sessions in TestModel; 0 means several")
)

// TestModel lets several hosts contend for a mutex and a semaphore while everything goes
// wrong that can, at random, and checks what is promised:
//
//   - There are never two valid leases of the mutex, except for D after an operator has
//     written to the key, or after the agent has lost its data.
//   - Tokens grow.
//   - A counter that is read, and then written by transactions with a Guard, loses no
//     update.
//   - There are never more leases of the semaphore than its limit, except for D after
//     somebody has destroyed a session, or one of the above.
//   - In the end, without failures, nothing is held and no session is left.
//
// A run is repeated with -model.seed. -model.hours makes it a long one, of which a
// quarter is stormy: something goes wrong every two TTLs. It takes about 10 s of CPU for
// 100 stormy hours with -model.ttl=2m.
func TestModel(t *testing.T) {
	ttls := []time.Duration{10 * time.Second, 15 * time.Second, 75 * time.Second, 2 * time.Minute}
	if *modelTTL > 0 {
		ttls = []time.Duration{*modelTTL}
	}
	each, total := 20*time.Minute, 4*20*time.Minute
	if *modelHours > 0 {
		total = time.Duration(*modelHours * float64(time.Hour))
		each = min(total, 10*time.Hour)
	}
	var sum modelCounts
	began := time.Now()
	seed := *modelSeed
	for done := time.Duration(0); done < total && !t.Failed(); done += each {
		ttl := ttls[int(seed)%len(ttls)]
		t.Run(fmt.Sprintf("seed=%d/ttl=%s", seed, ttl), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { sum.add(runModel(t, seed, ttl, each)) })
		})
		seed++
		if *modelHours > 0 && (seed-*modelSeed)%10 == 0 {
			fmt.Fprintf(os.Stderr, "seeds %d to %d, %.0f virtual hours in %s: %+v\n", *modelSeed, seed-1, (done + each).Hours(), time.Since(began).Round(time.Second), sum)
		}
	}
	t.Logf("seeds %d to %d, %.1f virtual hours: %+v", *modelSeed, seed-1, total.Hours(), sum)
	if !t.Failed() && (sum.Leases == 0 || sum.Lost == 0 || sum.Writes == 0 || sum.Refused == 0) {
		t.Error("nothing has happened")
	}
}

// modelCounts counts what happened, so that a reader sees that something did.
type modelCounts struct {
	Leases, Lost, Places, Writes, Refused, Overlaps, Faults int

	Stormy time.Duration // how much of the time was
}

func (c *modelCounts) add(d modelCounts) {
	c.Leases, c.Lost, c.Places = c.Leases+d.Leases, c.Lost+d.Lost, c.Places+d.Places
	c.Writes, c.Refused, c.Overlaps, c.Faults = c.Writes+d.Writes, c.Refused+d.Refused, c.Overlaps+d.Overlaps, c.Faults+d.Faults
	c.Stormy += d.Stormy
}

const (
	modelMutex     = "model/mutex"
	modelCounter   = "model/counter"
	modelSemaphore = "model/pool"
	modelLimit     = 2
)

// model is one run.
type model struct {
	t       *testing.T
	agent   *fakeAgent
	options coordination.SessionOptions
	pace    time.Duration // how much rarer things go wrong, and longer leases are held, than at most
	hosts   []*host

	mu       sync.Mutex
	rand     *rand.Rand
	leases   []*coordination.Lease // of the mutex, the youngest last
	places   []*coordination.Lease // of the semaphore
	last     uint64                // the greatest token of the mutex
	executed int                   // guarded writes that the agent has carried out
	unknown  int                   // guarded writes of which that is not known
	tampered time.Time             // when the promise of one lease was last suspended
	reset    time.Time             // when the agent last lost its data
	ended    time.Time             // when a session was last destroyed
	counts   modelCounts
}

// modelPace makes one run of four stormy, and the others calm.
func modelPace(seed uint64) time.Duration {
	if seed/4%4 == 0 {
		return 1
	}
	return 10
}

func runModel(t *testing.T, seed uint64, ttl, duration time.Duration) modelCounts {
	s := consulmock.New(t, consulmock.WithVersion([]string{"1.21.4", "1.8.7"}[seed%2]))
	m := &model{t: t, agent: &fakeAgent{Server: s, t: t}, rand: rand.New(rand.NewPCG(seed, 0))}
	m.agent.client = m.agent.host().client
	m.options = coordination.SessionOptions{TTL: ttl}
	m.pace = modelPace(seed)
	if ttl > 75*time.Second {
		m.options.Grace = ttl / 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for i, contender := range []func(context.Context, *host){
		m.ownSession, m.sharedSession, m.candidate, m.ownSession, m.placeholder, m.placeholder, m.placeholder,
	} {
		h := m.agent.host()
		h.wire.base = &slowTransport{m.rand, &m.mu, handlerTransport{s.Handler()}}
		m.hosts = append(m.hosts, h)
		wg.Go(func() {
			time.Sleep(time.Duration(i) * time.Second)
			contender(ctx, h)
		})
	}
	for end := time.Now().Add(duration); time.Now().Before(end) && !t.Failed(); {
		time.Sleep(m.pace * m.upTo(4*ttl))
		synctest.Wait() // nothing is under way at this moment but what waits
		m.fault()
	}
	for _, h := range m.hosts {
		h.wire.fail(none, nil)
	}
	synctest.Wait()
	m.checkCounter()
	cancel()
	wg.Wait()
	time.Sleep(2*ttl + time.Minute)
	m.agent.wantNothing(t)
	if m.pace == 1 {
		m.counts.Stormy = duration
	}
	return m.counts
}

// upTo returns a random time.
func (m *model) upTo(d time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Duration(m.rand.Int64N(int64(d)))
}

func (m *model) intN(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rand.IntN(n)
}

// slowTransport takes up to 20 ms each way.
type slowTransport struct {
	rand *rand.Rand
	mu   *sync.Mutex
	base http.RoundTripper
}

func (s *slowTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	there, back := time.Duration(s.rand.IntN(20))*time.Millisecond, time.Duration(s.rand.IntN(20))*time.Millisecond
	s.mu.Unlock()
	time.Sleep(there)
	resp, err := s.base.RoundTrip(r)
	if err == nil {
		time.Sleep(back)
	}
	return resp, err
}

// handlerTransport calls a handler without a connection, which takes a fraction of the
// time.
type handlerTransport struct{ handler http.Handler }

func (h handlerTransport) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	in := *r
	in.RequestURI, in.RemoteAddr = r.URL.RequestURI(), "192.0.2.1:1"
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	defer func() {
		if v := recover(); v == http.ErrAbortHandler {
			resp, err = nil, errConnection
		} else if v != nil {
			panic(v)
		}
	}()
	w := responseWriter{header: make(http.Header), status: http.StatusOK}
	h.handler.ServeHTTP(&w, &in)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// responseWriter keeps what a handler writes.
type responseWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *responseWriter) Header() http.Header         { return w.header }
func (w *responseWriter) WriteHeader(status int)      { w.status = status }
func (w *responseWriter) Write(b []byte) (int, error) { return w.body.Write(b) }

// fault makes something go wrong.
func (m *model) fault() {
	m.counts.Faults++
	ctx := context.Background()
	d := m.upTo(4 * m.options.TTL)
	switch m.intN(16) {
	case 0, 1, 2, 3, 4, 5: // of the network of a host, for some time
		h := m.hosts[m.intN(len(m.hosts))]
		only := [](func(*http.Request) bool){nil, nil, nil, is("renew"), is("txn"), is("confirm", "wait", "read"), is("create", "destroy")}[m.intN(7)]
		h.wire.fail(failure(1+m.intN(4)), only)
		time.AfterFunc(d, func() { h.wire.fail(none, nil) })
	case 6: // one request
		m.hosts[m.intN(len(m.hosts))].wire.failTimes(failure(1+m.intN(4)), 1, is("txn"))
	case 7: // of all
		remove := m.agent.Inject(consulmock.Fault{Always: true, NoLeader: true})
		time.Sleep(d)
		remove()
	case 8:
		m.agent.Stop()
		time.Sleep(d / 4)
		m.agent.Start()
	case 9:
		m.agent.Restart(true)
	case 10:
		m.checkCounter()
		m.agent.Restart(false)
		m.mu.Lock()
		m.last, m.executed, m.unknown = 0, 0, 0
		m.reset = time.Now()
		m.mu.Unlock()
		m.tamper()
	case 11:
		m.agent.ElectLeader()
		time.Sleep(4 * time.Second) // what follows needs a leader
	case 12, 13: // the session of a holder ends, also while its network is silent
		if holder := m.agent.holder(m.t, modelMutex); holder != "" {
			m.agent.InvalidateSession(holder)
		}
	case 14: // a session ends
		sessions, _, err := m.agent.client.Session().List(ctx, nil)
		must(m.t, err)
		if len(sessions) > 0 {
			m.mu.Lock()
			m.ended = time.Now()
			m.mu.Unlock()
			m.agent.InvalidateSession(sessions[m.intN(len(sessions))].ID)
		}
	case 15: // operators
		m.tamper()
		switch m.intN(4) {
		case 0:
			must(m.t, m.agent.client.KV().Delete(ctx, modelMutex, nil))
		case 1:
			must(m.t, m.agent.client.KV().Put(ctx, &consul.KVPair{Key: modelMutex, Value: []byte("operator"), Flags: 0x2ddccbc058a50c18}, nil))
		case 2:
			must(m.t, m.agent.client.KV().DeleteTree(ctx, modelSemaphore, nil))
		case 3:
			must(m.t, m.agent.client.KV().Delete(ctx, modelMutex, nil))
			id, err := m.agent.client.Session().Create(ctx, &consul.SessionEntry{TTL: m.options.TTL, LockDelay: consul.NoLockDelay, NodeChecks: []string{}}, nil)
			must(m.t, err)
			_, err = m.agent.client.KV().Acquire(ctx, &consul.KVPair{Key: modelMutex, Session: id, Flags: 0x2ddccbc058a50c18}, nil)
			must(m.t, err)
		}
	}
}

// tamper notes that there may be two leases for some time.
func (m *model) tamper() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tampered = time.Now()
}

// isSuspended reports whether there may be a lease too many.
func (m *model) isSuspended(since time.Time) bool {
	grace := m.options.Grace
	if grace == 0 {
		grace = m.options.TTL / 5
	}
	return !since.IsZero() && time.Since(since) <= m.options.TTL-grace
}

// checkLease notes a lease of the mutex, and checks that it is the only valid one. Only a
// new lease can break that promise: others do not become valid again.
func (m *model) checkLease(l *coordination.Lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Leases++
	var valid []*coordination.Lease
	for _, other := range m.leases {
		if other.Valid() {
			valid = append(valid, other)
		}
	}
	if len(valid) > 0 && l.Valid() {
		m.counts.Overlaps++
		if !m.isSuspended(m.tampered) {
			m.t.Errorf("two leases at %s: %d is valid until %s when %d begins", time.Now(), valid[0].Token(), valid[0].Deadline(), l.Token())
		}
	}
	if l.Token() <= m.last && !m.isSuspended(m.tampered) {
		m.t.Errorf("token %d follows %d", l.Token(), m.last)
	}
	if !m.isSuspended(m.reset) { // it may be of the data before
		m.last = max(m.last, l.Token())
	}
	m.leases = append(valid, l)
}

// checkPlace does so for the semaphore.
func (m *model) checkPlace(l *coordination.Lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Places++
	var valid []*coordination.Lease
	for _, other := range append(m.places, l) {
		if other.Valid() {
			valid = append(valid, other)
		}
	}
	if len(valid) > modelLimit && !m.isSuspended(m.tampered) && !m.isSuspended(m.ended) {
		m.t.Errorf("%d places of %d are taken", len(valid), modelLimit)
	}
	m.places = valid
}

// checkCounter checks that the counter has counted each write.
func (m *model) checkCounter() {
	n, err := m.counter(context.Background(), m.agent.client)
	must(m.t, err)
	m.mu.Lock()
	defer m.mu.Unlock()
	if n < m.executed || n > m.executed+m.unknown {
		m.t.Errorf("the counter is %d after %d writes and perhaps %d more", n, m.executed, m.unknown)
	}
}

func (m *model) counter(ctx context.Context, c *consul.Client) (int, error) {
	p, _, err := c.KV().Get(ctx, modelCounter, nil)
	if err != nil || p == nil {
		return 0, err
	}
	return strconv.Atoi(string(p.Value))
}

// work counts for some time, as long as the lease lasts or longer.
func (m *model) work(ctx context.Context, h *host, l *coordination.Lease) {
	for range m.intN(5) {
		rctx, cancel := context.WithTimeout(ctx, m.options.TTL)
		n, err := m.counter(rctx, h.client)
		cancel()
		if err == nil {
			time.Sleep(m.upTo(m.options.TTL)) // somebody else may write meanwhile
			m.write(h, l, n+1)
		}
		if ctx.Err() != nil {
			break
		}
		time.Sleep(m.pace * m.upTo(2*m.options.TTL))
	}
	if l.Context().Err() != nil {
		m.mu.Lock()
		m.counts.Lost++
		m.mu.Unlock()
	}
}

// write makes the agent write the counter with a guard. It does not go through the
// network's failures, so that what has happened is known; but it is as late.
func (m *model) write(h *host, l *coordination.Lease, n int) {
	ops := append(l.Guard(), consul.TxnOp{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: modelCounter, Value: []byte(strconv.Itoa(n))}})
	_, err := m.agent.client.Txn().Apply(context.Background(), ops, nil)
	var refused *consul.TxnError
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err == nil:
		m.executed++
		m.counts.Writes++
	case errors.As(err, &refused):
		m.counts.Refused++
	case !errors.Is(err, consul.ErrNoLeader):
		m.unknown++
	}
}

// hold works with a lease and releases it, perhaps in no time.
func (m *model) hold(ctx context.Context, h *host, l *coordination.Lease) {
	m.work(ctx, h, l)
	rctx, cancel := context.WithTimeout(context.Background(), m.upTo(m.options.TTL))
	defer cancel()
	_ = l.Release(rctx)
}

// ownSession contends with a session for each lease.
func (m *model) ownSession(ctx context.Context, h *host) {
	mutex := coordination.NewMutex(h.client, modelMutex, &coordination.MutexOptions{SessionOptions: &m.options})
	for ctx.Err() == nil {
		lctx, cancel := context.WithTimeout(ctx, m.pace*m.upTo(20*m.options.TTL))
		l, err := mutex.Lock(lctx)
		cancel()
		if err == nil {
			m.checkLease(l)
			m.hold(ctx, h, l)
		}
		sleep(ctx, m.upTo(m.options.TTL))
	}
}

// sharedSession contends with one session as long as that lives.
func (m *model) sharedSession(ctx context.Context, h *host) {
	for ctx.Err() == nil {
		s, err := coordination.NewSession(ctx, h.client, &m.options)
		if err != nil {
			sleep(ctx, m.upTo(m.options.TTL))
			continue
		}
		mutex := coordination.NewMutex(h.client, modelMutex, &coordination.MutexOptions{Session: s})
		for ctx.Err() == nil && s.Context().Err() == nil {
			lctx, cancel := context.WithTimeout(ctx, m.pace*m.upTo(10*m.options.TTL))
			l, err := mutex.Lock(lctx)
			cancel()
			if err == nil {
				m.checkLease(l)
				m.hold(ctx, h, l)
			}
			sleep(ctx, m.upTo(m.options.TTL))
		}
		_ = s.Close()
	}
}

// candidate runs in an election.
func (m *model) candidate(ctx context.Context, h *host) {
	e := coordination.NewElection(h.client, modelMutex, &coordination.ElectionOptions{SessionOptions: &m.options})
	for ctx.Err() == nil {
		err := e.Run(ctx, func(ctx context.Context, l *coordination.Lease) error {
			m.checkLease(l)
			m.work(ctx, h, l)
			if m.intN(10) == 0 {
				return errors.New("enough")
			}
			return nil
		})
		if err == nil {
			m.t.Error("Run has returned nothing")
		}
	}
}

// placeholder has a place in the semaphore now and then.
func (m *model) placeholder(ctx context.Context, h *host) {
	s := coordination.NewSemaphore(h.client, modelSemaphore, modelLimit, &coordination.SemaphoreOptions{SessionOptions: &m.options})
	for ctx.Err() == nil {
		lctx, cancel := context.WithTimeout(ctx, m.pace*m.upTo(10*m.options.TTL))
		l, err := s.Acquire(lctx)
		cancel()
		if err == nil {
			m.checkPlace(l)
			sleep(l.Context(), m.pace*m.upTo(4*m.options.TTL))
			rctx, cancel := context.WithTimeout(context.Background(), m.upTo(m.options.TTL))
			_ = l.Release(rctx)
			cancel()
		}
		sleep(ctx, m.upTo(m.options.TTL))
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
