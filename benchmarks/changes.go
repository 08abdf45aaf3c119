package benchmarks

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"io"
	"iter"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

// Changing is a handler that answers each request with a list, such as the
// instances of a service, of which some elements are others than in the answer
// before. Lists with different paths change on their own.
type Changing struct {
	each int // so many change from one answer to the next
	make func() *changing

	mu    sync.Mutex
	lists map[string]*changing
}

// changing is a list whose elements change.
type changing struct {
	mu     sync.Mutex
	body   []byte
	places []int // where four digits of each element are in it
	index  int
	next   int // element to change
}

// NewChanging returns a handler of services with so many instances, of which so
// many change each time.
func NewChanging(instances, each int) *Changing {
	return &Changing{
		each: each, lists: make(map[string]*changing),
		make: func() *changing { return newChanging(Instances(instances), `"Port":`, `8080,"Weights"`) },
	}
}

// ServeHTTP answers.
func (c *Changing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	s := c.lists[r.URL.Path]
	if s == nil {
		s = c.make()
		c.lists[r.URL.Path] = s
	}
	c.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.change(c.each)
	Answer{Index: s.index, Body: s.body}.ServeHTTP(w, r)
}

// newChanging returns a list whose four digits that change stand between before
// and after, as after has them at first.
func newChanging(body []byte, before, after string) *changing {
	s := &changing{body: body, index: 7}
	for from := 0; ; {
		i := bytes.Index(s.body[from:], []byte(before+after))
		if i < 0 {
			return s
		}
		s.places = append(s.places, from+i+len(before))
		from += i + len(before+after)
	}
}

// change gives other digits to some elements, which are spread over the list.
func (s *changing) change(each int) {
	s.index++
	apart := len(s.places) / each
	for i := range each {
		at := s.places[(s.next+i*apart)%len(s.places)]
		strconv.AppendInt(s.body[:at], int64(1000+s.index%9000), 10)
	}
	s.next += 7 // any number
}

// Changes are the same operation in several ways: to see the next change of a
// service.
type Changes struct {
	Loop     Op // our blocking query, with the result of the one before
	Watch    Op // discovery.WatchService
	Resolver Op // discovery.Resolver.Watch
	API      Op // consul/api's blocking query
	Floor    Op // a bare net/http request, and one hash of the body

	ends []func()
}

// NewChanges returns ways to follow the n instances of a service of an agent that
// is a [Changing] handler. They have to be closed.
func (r *Rig) NewChanges(n int) (*Changes, error) {
	c := &Changes{Loop: r.changeLoop(n), API: r.changeAPI(n), Floor: r.changeFloor("/v1/health/service/bare")}
	c.Watch = follow(c, n, discovery.WatchService(context.Background(), r.ours, "watched", &discovery.WatchOptions{
		Burst: 1 << 30, MinInterval: time.Nanosecond,
	}))
	return c, c.resolver(r.addr, n)
}

// Close ends what follows the service.
func (c *Changes) Close() {
	for _, end := range c.ends {
		end()
	}
}

func (r *Rig) changeLoop(n int) Op {
	q := &consul.QueryOptions{Previous: new(consul.Result)}
	return func() error {
		entries, meta, err := r.ours.Health().Service(context.Background(), "looped", q)
		if err != nil {
			return err
		}
		if meta.Result == q.Previous {
			return errors.New("nothing has changed")
		}
		q.WaitIndex, q.Previous = meta.LastIndex, meta.Result
		return check(len(entries), n, nil)
	}
}

func (r *Rig) changeAPI(n int) Op {
	q := new(api.QueryOptions)
	return func() error {
		entries, meta, err := r.api.Health().Service("theirs", "", false, q)
		if err != nil {
			return err
		}
		q.WaitIndex = meta.LastIndex
		return check(len(entries), n, nil)
	}
}

func (r *Rig) changeFloor(path string) Op {
	var buf bytes.Buffer
	var last uint64
	seed := maphash.MakeSeed()
	return func() error {
		resp, err := r.bare.Get("http://" + r.addr + path)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		buf.Reset()
		if _, err := io.Copy(&buf, resp.Body); err != nil {
			return err
		}
		sum := maphash.Bytes(seed, buf.Bytes())
		if sum == last {
			return errors.New("nothing has changed")
		}
		last = sum
		return nil
	}
}

// resolver adds a resolver whose queries wait until they are wanted, because they
// run in a goroutine of their own.
func (c *Changes) resolver(addr string, n int) error {
	wanted := make(chan struct{}, 1)
	client, err := consul.NewClient(consul.Config{Address: addr, WrapTransport: func(next http.RoundTripper) http.RoundTripper {
		return &gate{next, wanted}
	}})
	if err != nil {
		return err
	}
	resolver := discovery.NewResolver(client, &discovery.ResolverOptions{Burst: 1 << 30, MinInterval: time.Nanosecond})
	c.ends = append(c.ends, func() { resolver.Close() })
	next := follow(c, n, resolver.Watch(context.Background(), "resolved"))
	c.Resolver = func() error {
		wanted <- struct{}{}
		return next()
	}
	return nil
}

// follow returns an operation that waits for the next list of a sequence.
func follow[T any](c *Changes, n int, lists iter.Seq2[[]T, error]) Op {
	next, stop := iter.Pull2(lists)
	c.ends = append(c.ends, stop)
	return func() error {
		list, err, ok := next()
		if !ok {
			return errors.New("the sequence has ended")
		}
		return check(len(list), n, err)
	}
}

// gate lets a request pass when it is wanted.
type gate struct {
	next   http.RoundTripper
	wanted <-chan struct{}
}

// RoundTrip waits, and sends the request.
func (g *gate) RoundTrip(req *http.Request) (*http.Response, error) {
	select {
	case <-g.wanted:
		return g.next.RoundTrip(req)
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}
